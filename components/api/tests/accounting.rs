//! The committed document is that of the table.

#[test]
fn the_document_is_current() {
    let path = "../../docs/accounting.md";
    let text = payplane_api::accounting::document::text();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "docs/accounting.md is stale: run the test again with UPDATE=1");
}
