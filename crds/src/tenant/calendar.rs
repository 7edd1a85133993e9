//! Days on which settlement works or rests.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Dated exceptions from the Monday-to-Friday week.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.holidays) || !has(self.workingWeekends) || !self.workingWeekends.exists(d, d in self.holidays)")
        .field_path(".workingWeekends")
        .message("a date cannot be both a holiday and a working weekend")
)]
pub struct Calendar {
    /// Dates `YYYY-MM-DD` on which nothing settles. At most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::dates::set")]
    pub holidays: Vec<String>,
    /// Saturdays and Sundays `YYYY-MM-DD` on which settlement works. At most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::dates::set")]
    #[x_kube(validation = Rule::new("self.all(d, d.getDayOfWeek() == 0 || d.getDayOfWeek() == 6)").message("working weekends must be Saturdays or Sundays"))]
    pub working_weekends: Vec<String>,
}
