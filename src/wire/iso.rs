//! Points in time as text, as JavaScript's `Date.prototype.toJSON` writes them.

use std::io::Write as _;

/// The farthest that a `Date` goes from 1970, in milliseconds.
const MS_MAX: i64 = 8_640_000_000_000_000;
const MS_PER_DAY: i64 = 86_400_000;

/// Appends the JSON of a time in milliseconds since 1970: its ISO text, or `null` where `Date` has none.
pub(crate) fn write(json: &mut Vec<u8>, ms: i64) {
    if !(-MS_MAX..=MS_MAX).contains(&ms) {
        json.extend_from_slice(b"null");
        return;
    }
    let (year, month, day) = date(ms.div_euclid(MS_PER_DAY));
    let ms = ms.rem_euclid(MS_PER_DAY);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, ms) = (ms / 1000 % 60, ms % 1000);
    json.push(b'"');
    // Years of more than four digits have a sign and six (ECMA-262, "Expanded Years"). A `Vec` takes all that is written.
    let _ = match year {
        0..=9999 => write!(json, "{year:04}"),
        _ => write!(json, "{year:+07}"),
    };
    let _ = write!(
        json,
        "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z\""
    );
}

/// Year, month and day in the Gregorian calendar, of a day counted from 1970-01-01.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    /// Days from the first of March of the year 0 to 1970-01-01.
    const EPOCH: i64 = 719_468;
    /// Of 400 years: after so many days the calendar repeats itself.
    const ERA: i64 = 146_097;
    let days = days + EPOCH;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    // Years begin in March, so that the leap day is a year's last.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months, from March or August on, have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + era * 400 + carry, month, day)
}
