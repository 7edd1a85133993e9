//! Days, written `YYYY-MM-DD`: one that is in no calendar is refused on entry.

use schemars::{Schema, SchemaGenerator, json_schema};

pub(crate) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date", "maxLength": 10 })
}

pub(crate) fn set(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 200,
        "items": date(generator),
        "x-kubernetes-list-type": "set",
    })
}
