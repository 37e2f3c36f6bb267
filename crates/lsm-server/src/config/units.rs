//! Sizes and durations as people write them: `64MiB`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A number of bytes: digits, and nothing or one of `KiB`, `MiB`, `GiB` after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// The factor of each unit, largest first so that printing finds the shortest form.
type Units = [(&'static str, u64); 4];

const SIZE_UNITS: Units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        parse(text, &SIZE_UNITS)
            .map(Size)
            .ok_or_else(|| "a size is bytes or like 64KiB, 64MiB, 1GiB".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, &SIZE_UNITS)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as a number, or a string like \"64MiB\"")
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size is not negative"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

/// A duration above zero: digits and one of `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

const SPAN_UNITS: Units = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        // A year is beyond every use, and far from where clocks overflow.
        parse(text, &SPAN_UNITS)
            .filter(|millis| (1..=365 * 24 * 3_600_000).contains(millis))
            .map(|millis| Span(Duration::from_millis(millis)))
            .ok_or_else(|| "a duration is above zero and like 500ms, 10s, 5m, 1h".to_owned())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0.as_millis() as u64, &SPAN_UNITS)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Digits and a unit, multiplied.
fn parse(text: &str, units: &Units) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The shortest form, which is in the largest unit that divides the amount; of nothing, in the
/// smallest.
fn print(f: &mut fmt::Formatter<'_>, amount: u64, units: &Units) -> fmt::Result {
    let fits = |&&(_, factor): &&(&str, u64)| factor <= amount && amount.is_multiple_of(factor);
    let (unit, factor) = units.iter().find(fits).unwrap_or(&units[units.len() - 1]);
    write!(f, "{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("1KiB", 1024), ("64MiB", 64 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
        for bad in ["", "MiB", "1MB", "1 MiB", "-1", "+1", "1.5GiB", "99999999999GiB", "1mib"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_and_printed() {
        for (text, millis) in
            [("500ms", 500), ("10s", 10_000), ("90s", 90_000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))));
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
        for bad in ["", "10", "0s", "s", "1.5s", "-1s", "1 s", "9000h", "99999999999999999999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
