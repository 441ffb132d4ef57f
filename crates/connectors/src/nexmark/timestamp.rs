//! Times as text, `yyyy-MM-dd HH:mm:ss.SSS` in UTC, and as milliseconds since 1970.
//!
//! Also for serde: `#[serde(with = "millstream_connectors::nexmark::timestamp")]` on a field.

use millstream_core::time::Timestamp;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use std::fmt;

const DAY_MS: i64 = 86_400_000;

/// Days from 0000-03-01 to 1970-01-01: counted from March, a leap day is the last of its year.
const EPOCH_DAYS: i64 = 719_468;

/// Days in 400 years.
const ERA_DAYS: i64 = 146_097;

/// Reads a time.
///
/// ```
/// use millstream_connectors::nexmark::timestamp;
///
/// assert_eq!(timestamp::parse("1970-01-02 00:00:01.500"), Some(86_401_500));
/// assert_eq!(timestamp::parse("1970-01-32 00:00:01.500"), None);
/// ```
pub fn parse(text: &str) -> Option<Timestamp> {
    let text: &[u8; 23] = text.as_bytes().try_into().ok()?;
    let separators = [text[4], text[7], text[10], text[13], text[16], text[19]];
    if separators != *b"-- ::." {
        return None;
    }
    let digit = |at: usize| i64::from(text[at].wrapping_sub(b'0'));
    let digits = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 22];
    if digits.into_iter().any(|at| digit(at) > 9) {
        return None;
    }
    let two = |at: usize| digit(at) * 10 + digit(at + 1);
    let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
    let (hour, minute, second, ms) = (two(11), two(14), two(17), digit(20) * 100 + two(21));
    let is_time = hour < 24 && minute < 60 && second < 60;
    if !is_time || !(1..=12).contains(&month) || day < 1 || days_in_month(year, month) < day {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(days_of(year, month, day) * DAY_MS + seconds * 1000 + ms)
}

/// Shows a time.
///
/// ```
/// use millstream_connectors::nexmark::timestamp;
///
/// assert_eq!(timestamp::text(86_401_500).to_string(), "1970-01-02 00:00:01.500");
/// ```
pub fn text(time: Timestamp) -> impl fmt::Display {
    Text(time)
}

/// Shows the day of a time, `yyyy-MM-dd`.
///
/// ```
/// use millstream_connectors::nexmark::timestamp;
///
/// assert_eq!(timestamp::day(86_401_500).to_string(), "1970-01-02");
/// assert_eq!(timestamp::minute(86_401_500).to_string(), "00:00");
/// ```
pub fn day(time: Timestamp) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let text = Text(time).to_string();
        f.write_str(text.split(' ').next().unwrap_or_default())
    })
}

/// Shows the hour and minute of a time, `HH:mm`.
pub fn minute(time: Timestamp) -> impl fmt::Display {
    let minutes = time.rem_euclid(DAY_MS) / 60_000;
    fmt::from_fn(move |f| write!(f, "{:02}:{:02}", minutes / 60, minutes % 60))
}

/// For serde: writes the text.
pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Text(*time))
}

/// For serde: reads the text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    struct TimeVisitor;

    impl Visitor<'_> for TimeVisitor {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time as yyyy-MM-dd HH:mm:ss.SSS")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
            parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(TimeVisitor)
}

struct Text(Timestamp);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, ms) = (ms / 1000 % 60, ms % 1000);
        if !(0..=9999).contains(&year) {
            let time = format_args!("{hour:02}:{minute:02}:{second:02}.{ms:03}");
            return write!(f, "{year:+05}-{month:02}-{day:02} {time}");
        }
        let mut text = *b"0000-00-00 00:00:00.000";
        let mut two = |at: usize, number: i64| {
            text[at] += (number / 10) as u8;
            text[at + 1] += (number % 10) as u8;
        };
        two(0, year / 100);
        two(2, year % 100);
        two(5, month);
        two(8, day);
        two(11, hour);
        two(14, minute);
        two(17, second);
        two(20, ms / 10);
        text[22] += (ms % 10) as u8;
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

/// Year, month and day so many days after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_read_and_show_alike() {
        for (ms, expected) in [
            (0, "1970-01-01 00:00:00.000"),
            (-1, "1969-12-31 23:59:59.999"),
            (1_704_239_940_765, "2024-01-02 23:59:00.765"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (-62_167_219_200_000, "0000-01-01 00:00:00.000"),
            (253_402_300_799_999, "9999-12-31 23:59:59.999"),
        ] {
            assert_eq!(text(ms).to_string(), expected);
            assert_eq!(parse(expected), Some(ms));
        }
    }

    #[test]
    fn every_day_of_five_hundred_years_survives() {
        for day in 0..500 * 365 {
            let ms = days_of(1800, 1, 1) * DAY_MS + day * (DAY_MS + 1);
            assert_eq!(parse(&text(ms).to_string()), Some(ms));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2024-01-02",
            "2024-01-02 23:59:00",
            "2024-01-02T23:59:00.765",
            "2024-13-02 23:59:00.765",
            "2024-00-02 23:59:00.765",
            "2023-02-29 23:59:00.765",
            "2024-04-31 23:59:00.765",
            "2024-01-02 24:59:00.765",
            "2024-01-02 23:60:00.765",
            "2024-01-02 23:59:60.765",
            "2024-01-02 23:59:00.7 5",
            "2024-01-02 23:59:00.76/",
            "2024-01-02 23:59:00.765 ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_year_that_has_no_four_digits_is_shown_with_its_sign() {
        assert_eq!(text(253_402_300_800_000).to_string(), "+10000-01-01 00:00:00.000");
        assert_eq!(text(-62_167_219_200_001).to_string(), "-0001-12-31 23:59:59.999");
    }
}
