//! Spans of time as Prometheus writes them: `1d12h`, `5m`, `0`.

use std::time::Duration;

use crate::period::Period;

/// Units from the longest to the shortest, each of which may stand once and in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads `model.Duration`.
pub(super) fn parse(text: &str) -> Result<Period, String> {
    let refused = || format!("expected a duration such as \"30s\", \"5m\" or \"1d12h\", found \"{text}\"");
    if text == "0" {
        return Ok(Period(Duration::ZERO));
    }
    let mut rest = text;
    let mut milliseconds: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest
            .find(|character: char| !character.is_ascii_digit())
            .ok_or_else(refused)?;
        let letters = rest[digits..]
            .find(|character: char| character.is_ascii_digit())
            .map_or(rest.len(), |length| digits + length);
        let (number, unit) = (&rest[..digits], &rest[digits..letters]);
        let number: u64 = number.parse().map_err(|_| refused())?;
        let (_, size) = units.find(|(known, _)| *known == unit).ok_or_else(refused)?;
        milliseconds = number
            .checked_mul(*size)
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or_else(refused)?;
        rest = &rest[letters..];
    }
    if text.is_empty() {
        return Err(refused());
    }
    Ok(Period(Duration::from_millis(milliseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_prometheus_are_read() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1d12h", 129_600_000),
            ("1y2w", 32_745_600_000),
            ("1s500ms", 1500),
        ] {
            assert_eq!(
                parse(text).unwrap().0,
                Duration::from_millis(milliseconds),
                "{text}"
            );
        }
        for wrong in [
            "",
            "30",
            "1m1h",
            "1.5h",
            "-1s",
            "5 m",
            "1x",
            "99999999999999999999s",
            "9999999999999999y",
            "m",
        ] {
            assert!(parse(wrong).is_err(), "{wrong} was read");
        }
    }
}
