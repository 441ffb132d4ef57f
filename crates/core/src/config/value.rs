//! Values as people write them: `10 s`, `512m`, `true`, `a;b`.

/// Milliseconds of a duration: a number with a unit (`ms`, `s`, `min`, `h`, `d`; none: ms).
pub fn millis(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit.as_str() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return Err("expected a duration such as `500 ms`, `10 s` or `5 min`".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a duration such as `500 ms`, `10 s` or `5 min`".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too long a duration".to_owned())
}

/// Bytes of a size: a number with a unit (`b`, `k`/`kb`, `m`/`mb`, `g`/`gb`, `t`/`tb`; powers of
/// 1024; none: bytes).
pub fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let shift = match unit.as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" | "kibibytes" => 10,
        "m" | "mb" | "mib" | "mebibytes" => 20,
        "g" | "gb" | "gib" | "gibibytes" => 30,
        "t" | "tb" | "tib" | "tebibytes" => 40,
        _ => return Err("expected a size such as `512m` or `2g`".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "expected a size such as `512m` or `2g`".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large a size".to_owned())
}

/// Number and unit.
fn split(text: &str) -> (&str, String) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim().to_ascii_lowercase())
}

/// A port: a number between 0 and 65,535.
pub fn port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "expected a number between 0 and 65535".to_owned())
}

/// A number above 0.
pub fn count(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|n| *n > 0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

/// A number.
pub fn number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "expected a whole number, 0 or more".to_owned())
}

/// A number; -1 means none.
pub fn limit(text: &str) -> Result<Option<u32>, String> {
    match text.trim() {
        "-1" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "expected a number, or -1 for none".to_owned()),
    }
}

/// A part of a whole: a number above 0 and below 1.
pub fn part(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|n| 0.0 < *n && *n < 1.0);
    number.ok_or_else(|| "expected a number between 0 and 1, such as `0.5`".to_owned())
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true` or `false`".to_owned()),
    }
}

/// Any text.
pub fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Texts separated by `;`, `,` or `:` (directories, as in Flink).
pub fn directories(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split([';', ',', ':']).map(str::trim).filter(|part| !part.is_empty());
    Ok(parts.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, expected) in [
            ("250", 250),
            ("10 s", 10_000),
            ("5min", 300_000),
            ("1 H", 3_600_000),
            ("2 d", 172_800_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "1.5 s",
            "ten s",
            "18446744073709551615 d",
            "5 parsecs",
            "99999999999999999999 d",
            "-1 s",
        ] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in
            [("1", 1), ("64 kb", 65_536), ("512m", 512 << 20), ("2 GB", 2 << 30), ("1t", 1 << 40)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "1.5g", "5 pb", "99999999999t"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
