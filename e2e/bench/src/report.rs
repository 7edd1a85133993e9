//! How results are printed.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

pub(crate) fn figure(name: &str, value: f64, unit: &str) {
    println!("figure: {name}={value:.2} {unit}");
}

/// What differs from PostgreSQL's defaults.
pub(crate) fn settings(settings: &[(&str, &str)]) {
    for (name, value) in settings {
        say(&format!("postgresql: {name} = {value}"));
    }
}

pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
pub(crate) fn precise(count: u64) -> f64 {
    count as f64
}
