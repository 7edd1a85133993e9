//! Writing an error for people.

/// An error and its sources in one line, for the one place that consumes it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    #[test]
    fn every_cause_is_told_once_and_in_order() {
        #[derive(Debug, snafu::Snafu)]
        #[snafu(display("the order is not stored"))]
        struct Outer {
            source: Error,
        }
        let error = Outer { source: Error::new(ErrorKind::TimedOut, "no answer") };
        assert_eq!(super::chain(&error), "the order is not stored: no answer");
    }
}
