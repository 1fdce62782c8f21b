//! Numbers as people read them.

/// So many of something whose plural ends with s: `1 row`, `412,000 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    counted_as(number, noun, &format!("{noun}s"))
}

/// So many of something: `1 entity`, `3 entities`.
pub(crate) fn counted_as(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Rows in a second: `412,000`.
pub(crate) fn rate(rows: u64, seconds: f64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded for people"
    )]
    let rate = if seconds > 0.0 { (rows as f64 / seconds) as u64 } else { 0 };
    grouped(rate)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
            assert_eq!(counted(number, "row"), format!("{text} rows"));
        }
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(
            (counted_as(1, "entity", "entities"), counted_as(2, "entity", "entities")),
            ("1 entity".to_owned(), "2 entities".to_owned())
        );
        assert_eq!(rate(1_000, 0.5), "2,000");
        assert_eq!(rate(1_000, 0.0), "0");
    }
}
