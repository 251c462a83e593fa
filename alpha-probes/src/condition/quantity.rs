//! Numbers with units: how they are read, and which go together.

use super::expression::Operation;
use crate::observation::Unit;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimension {
    /// It came from a document or a fact, which tell no units: it goes with everything.
    Untyped,
    /// It was written without a unit, or its units cancelled out: it takes the base unit of what it stands beside.
    Plain,
    /// It has this unit.
    Of(Unit),
}

/// The units a number can be written with, and the base they are counted in.
const UNITS: &[(&str, f64, Unit)] = &[
    ("%", 0.01, Unit::Ratio),
    ("ns", 1e-9, Unit::Seconds),
    ("us", 1e-6, Unit::Seconds),
    ("µs", 1e-6, Unit::Seconds),
    ("ms", 1e-3, Unit::Seconds),
    ("s", 1.0, Unit::Seconds),
    ("min", 60.0, Unit::Seconds),
    ("m", 60.0, Unit::Seconds),
    ("h", 3600.0, Unit::Seconds),
    ("d", 86_400.0, Unit::Seconds),
    ("w", 604_800.0, Unit::Seconds),
    ("B", 1.0, Unit::Bytes),
    ("kB", 1e3, Unit::Bytes),
    ("KB", 1e3, Unit::Bytes),
    ("MB", 1e6, Unit::Bytes),
    ("GB", 1e9, Unit::Bytes),
    ("TB", 1e12, Unit::Bytes),
    ("PB", 1e15, Unit::Bytes),
    ("KiB", 1024.0, Unit::Bytes),
    ("MiB", 1_048_576.0, Unit::Bytes),
    ("GiB", 1_073_741_824.0, Unit::Bytes),
    ("TiB", 1_099_511_627_776.0, Unit::Bytes),
    ("PiB", 1_125_899_906_842_624.0, Unit::Bytes),
];

/// Reads a number with its unit at the start of `text`: its value in the base unit, what it counts, and its length.
///
/// Spans of time may have several parts (`1h30m`, `1m 30s`); whole numbers may be hexadecimal, octal or binary.
pub(super) fn read(text: &str) -> Option<(f64, Dimension, usize)> {
    if let Some((value, length)) = read_radix(text) {
        return Some((value, Dimension::Plain, length));
    }
    let (first, mut length) = read_number(text)?;
    let Some((scale, unit, unit_length)) = read_unit(&text[length..]) else {
        return first.is_finite().then_some((first, Dimension::Plain, length));
    };
    length += unit_length;
    let mut value = first * scale;
    if unit == Unit::Seconds {
        while let Some((part, part_length)) = read_part(&text[length..]) {
            value += if first < 0.0 { -part } else { part };
            length += part_length;
        }
    }
    value.is_finite().then_some((value, Dimension::Of(unit), length))
}

/// Reads `text` as nothing but a number with its unit.
pub(super) fn read_whole(text: &str) -> Option<(f64, Dimension)> {
    let text = text.trim();
    read(text).and_then(|(value, dimension, length)| (length == text.len()).then_some((value, dimension)))
}

/// A further part of a span of time, such as `30m` after `1h`.
fn read_part(text: &str) -> Option<(f64, usize)> {
    let trimmed = text.trim_start_matches(' ');
    if !trimmed.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let skipped = text.len() - trimmed.len();
    let (value, length) = read_number(trimmed)?;
    match read_unit(&trimmed[length..])? {
        (scale, Unit::Seconds, unit_length) => Some((value * scale, skipped + length + unit_length)),
        _ => None,
    }
}

fn read_radix(text: &str) -> Option<(f64, usize)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let radix = match digits.get(..2)? {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return None,
    };
    let digits = &digits[2..];
    let length = digits
        .find(|digit: char| !digit.is_digit(radix))
        .unwrap_or(digits.len());
    let magnitude = u64::from_str_radix(&digits[..length], radix).ok()? as f64;
    let start = text.len() - digits.len();
    Some((
        if text.starts_with('-') {
            -magnitude
        } else {
            magnitude
        },
        start + length,
    ))
}

/// Digits with `_` between them, a fraction and an exponent.
fn read_number(text: &str) -> Option<(f64, usize)> {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        let start = at;
        while bytes
            .get(at)
            .is_some_and(|byte| byte.is_ascii_digit() || (*byte == b'_' && at > start))
        {
            at += 1;
        }
        at
    };
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let mut end = digits(sign);
    if end == sign {
        return None;
    }
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        if digits(exponent) > exponent {
            end = digits(exponent);
        }
    }
    let number = &text[..end];
    let value = if number.contains('_') {
        number.replace('_', "").parse().ok()?
    } else {
        number.parse().ok()?
    };
    Some((value, end))
}

/// The unit at the start of `text`, which may stand a space away: its scale, itself and its length.
fn read_unit(text: &str) -> Option<(f64, Unit, usize)> {
    let trimmed = text.strip_prefix(' ').unwrap_or(text);
    let skipped = text.len() - trimmed.len();
    let word = trimmed
        .find(|letter: char| !(letter.is_ascii_alphabetic() || matches!(letter, 'µ' | '%')))
        .unwrap_or(trimmed.len());
    let per_second = trimmed[word..].starts_with("/s")
        && !trimmed[word + 2..].starts_with(|next: char| next.is_alphanumeric());
    if word == 0 {
        let is_rate = per_second && skipped == 0;
        return is_rate.then_some((1.0, Unit::PerSecond, 2));
    }
    let (_, scale, unit) = UNITS.iter().find(|(name, ..)| *name == &trimmed[..word])?;
    match (unit, per_second) {
        (Unit::Bytes, true) => Some((*scale, Unit::BytesPerSecond, skipped + word + 2)),
        (_, true) => None,
        _ => Some((*scale, *unit, skipped + word)),
    }
}

impl Dimension {
    /// Whether two numbers can be compared, added or subtracted.
    pub(super) fn goes_with(self, other: Self) -> bool {
        self == other || !matches!((self, other), (Self::Of(_), Self::Of(_)))
    }

    /// What `self operation other` counts; `None` where it means nothing.
    pub(super) fn combined(self, operation: Operation, other: Self) -> Option<Self> {
        use Dimension::{Of, Plain, Untyped};
        use Unit::*;
        match operation {
            Operation::Add | Operation::Subtract => Some(match (self, other) {
                (Of(UnixSeconds), Of(UnixSeconds)) => {
                    return (operation == Operation::Subtract).then_some(Of(Seconds));
                }
                (Of(UnixSeconds), Of(Seconds)) => Of(UnixSeconds),
                (Of(Seconds), Of(UnixSeconds)) if operation == Operation::Add => Of(UnixSeconds),
                (Of(unit), Of(other)) => return (unit == other).then_some(Of(unit)),
                (Of(unit), _) | (_, Of(unit)) => Of(unit),
                (Untyped, _) | (_, Untyped) => Untyped,
                (Plain, Plain) => Plain,
            }),
            Operation::Multiply => Some(match (self, other) {
                (Of(PerSecond), Of(Seconds)) | (Of(Seconds), Of(PerSecond)) => Of(Count),
                (Of(BytesPerSecond), Of(Seconds)) | (Of(Seconds), Of(BytesPerSecond)) => Of(Bytes),
                (Of(unit), Plain | Untyped | Of(Count | Ratio)) => Of(unit),
                (Plain | Untyped | Of(Count | Ratio), Of(unit)) => Of(unit),
                (Of(_), Of(_)) => return None,
                (Untyped, _) | (_, Untyped) => Untyped,
                (Plain, Plain) => Plain,
            }),
            Operation::Divide => Some(match (self, other) {
                (Of(unit), Of(same)) if unit == same => Plain,
                (Of(Count), Of(Seconds)) => Of(PerSecond),
                (Of(Bytes), Of(Seconds)) => Of(BytesPerSecond),
                (Of(Count), Of(PerSecond)) | (Of(Bytes), Of(BytesPerSecond)) => Of(Seconds),
                (Of(unit), Plain | Untyped | Of(Count | Ratio)) => Of(unit),
                (Plain | Untyped, Of(Count | Ratio)) => Plain,
                (_, Of(_)) => return None,
                (Untyped, _) | (_, Untyped) => Untyped,
                (Plain, Plain) => Plain,
            }),
        }
    }

    /// What it counts, in a word for messages.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Untyped | Self::Plain => "number",
            Self::Of(unit) => unit.as_str(),
        }
    }

    /// `value` as a person reads it.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::Untyped | Self::Plain => Unit::Count.format(value),
            Self::Of(unit) => unit.format(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units() {
        let of = Dimension::Of;
        for (text, value, dimension) in [
            ("200", 200.0, Dimension::Plain),
            ("-1.5e3", -1500.0, Dimension::Plain),
            ("1_000_000", 1e6, Dimension::Plain),
            ("0xC0ff33", 12_648_243.0, Dimension::Plain),
            ("0b10", 2.0, Dimension::Plain),
            ("0o17", 15.0, Dimension::Plain),
            ("80%", 0.8, of(Unit::Ratio)),
            ("80 %", 0.8, of(Unit::Ratio)),
            ("200ms", 0.2, of(Unit::Seconds)),
            ("14d", 1_209_600.0, of(Unit::Seconds)),
            ("1h30m", 5400.0, of(Unit::Seconds)),
            ("1m 30s", 90.0, of(Unit::Seconds)),
            ("-1m30s", -90.0, of(Unit::Seconds)),
            ("10GB", 1e10, of(Unit::Bytes)),
            ("1GiB", 1_073_741_824.0, of(Unit::Bytes)),
            ("5/s", 5.0, of(Unit::PerSecond)),
            ("10MB/s", 1e7, of(Unit::BytesPerSecond)),
        ] {
            let (read, read_dimension) = read_whole(text).unwrap_or_else(|| panic!("{text} was not read"));
            assert!((read - value).abs() < 1e-9 * value.abs(), "{text} is {read}");
            assert_eq!(read_dimension, dimension, "{text}");
        }
        for wrong in [
            "",
            "-",
            ".",
            "127.0.0.1",
            "10 things",
            "1e999",
            "5m/s",
            "0x",
            "1..2",
            "١",
        ] {
            assert_eq!(read_whole(wrong), None, "{wrong} was read");
        }
    }

    #[test]
    fn units_combine_as_in_physics() {
        use Dimension::{Of, Plain};
        use Operation::{Add, Divide, Multiply, Subtract};
        for (left, operation, right, expected) in [
            (Of(Unit::Count), Divide, Of(Unit::Count), Some(Plain)),
            (
                Of(Unit::Bytes),
                Divide,
                Of(Unit::BytesPerSecond),
                Some(Of(Unit::Seconds)),
            ),
            (
                Of(Unit::UnixSeconds),
                Subtract,
                Of(Unit::UnixSeconds),
                Some(Of(Unit::Seconds)),
            ),
            (
                Of(Unit::UnixSeconds),
                Subtract,
                Of(Unit::Seconds),
                Some(Of(Unit::UnixSeconds)),
            ),
            (Of(Unit::UnixSeconds), Add, Of(Unit::UnixSeconds), None),
            (Of(Unit::Bytes), Add, Of(Unit::Seconds), None),
            (Of(Unit::Bytes), Multiply, Of(Unit::Bytes), None),
            (Plain, Multiply, Of(Unit::Bytes), Some(Of(Unit::Bytes))),
        ] {
            assert_eq!(
                left.combined(operation, right),
                expected,
                "{left:?} {operation:?} {right:?}"
            );
        }
    }
}
