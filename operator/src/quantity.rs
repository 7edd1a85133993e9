//! Sums of Kubernetes quantities, in thousandths of a CPU and in bytes.

/// Reads a quantity in thousandths of its unit: `500m` is 500, `1Ki` is 1,024,000.
#[must_use]
pub fn thousandths(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: i128 = match suffix {
        "" => 1000,
        "m" => 1,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1024 * 1000,
        "Mi" => 1024 * 1024 * 1000,
        "Gi" => 1024 * 1024 * 1024 * 1000,
        "Ti" => 1024 * 1024 * 1024 * 1024 * 1000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 3 {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    whole.checked_mul(factor)?.checked_add(part.checked_mul(factor)?.checked_div(scale)?)
}

/// Writes a quantity as the API server stores it, so that the stored one is no
/// difference: `1024Mi` is `1Gi`, `0.5` is `500m`. What it cannot read stays.
#[must_use]
pub fn canonical(text: &str) -> String {
    let Some(value) = thousandths(text) else { return text.to_owned() };
    let binary = text.ends_with('i') && value >= 1024 * 1000;
    let (mut number, step, units): (i128, i128, &[&str]) = match binary {
        // Parts of a byte are rounded up.
        true => (value.saturating_add(999).div_euclid(1000), 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi"]),
        false => (value, 1000, &["m", "", "k", "M", "G", "T", "P"]),
    };
    let mut unit = 0;
    if number == 0 {
        return "0".to_owned();
    }
    while number.rem_euclid(step) == 0 && unit < units.len() - 1 {
        number = number.div_euclid(step);
        unit += 1;
    }
    format!("{number}{}", units[unit])
}

/// Writes CPUs as the API server does: `2` or `2500m`.
#[must_use]
pub fn cpu(thousandths: i128) -> String {
    if thousandths.rem_euclid(1000) == 0 {
        (thousandths / 1000).to_string()
    } else {
        format!("{thousandths}m")
    }
}

/// Writes bytes in whole `Mi`, rounded up.
#[must_use]
pub fn memory(thousandths: i128) -> String {
    let mebi = 1024 * 1024 * 1000;
    let whole = thousandths.saturating_add(mebi - 1).div_euclid(mebi);
    if whole.rem_euclid(1024) == 0 && whole > 0 {
        format!("{}Gi", whole / 1024)
    } else {
        format!("{whole}Mi")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_as_the_api_server_does() {
        for (text, value) in
            [("2", 2000), ("500m", 500), ("0.5", 500), ("1Ki", 1_024_000), ("1.5k", 1_500_000)]
        {
            assert_eq!(thousandths(text), Some(value), "{text}");
        }
        assert_eq!(thousandths("1x"), None);
        for (text, stored) in [
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("2", "2"),
            ("1000", "1k"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("1G", "1G"),
            ("0", "0"),
            ("1.5Mi", "1536Ki"),
        ] {
            assert_eq!(canonical(text), stored, "{text}");
        }
        assert_eq!(cpu(2000), "2");
        assert_eq!(cpu(1500), "1500m");
        assert_eq!(memory(thousandths("1.5Gi").unwrap()), "1536Mi");
        assert_eq!(memory(thousandths("2048Mi").unwrap()), "2Gi");
    }
}
