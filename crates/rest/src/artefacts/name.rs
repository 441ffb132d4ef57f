//! A client's file name, made harmless.

/// A name is not longer than this, in bytes.
const BYTES_MAX: usize = 255;

/// What people see: the part after the last separator, without control characters.
pub(crate) fn display_name(given: Option<&str>) -> String {
    let last = given.unwrap_or_default().rsplit(['/', '\\', ':']).next().unwrap_or_default();
    let mut name = String::new();
    for c in last.trim().chars().filter(|c| !c.is_control() && !is_invisible(*c)) {
        if name.len() + c.len_utf8() > BYTES_MAX {
            break;
        }
        name.push(c);
    }
    let is_dots = name.bytes().all(|b| b == b'.');
    if is_dots { "program".to_owned() } else { name }
}

/// Characters that turn the direction of writing or that nobody sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_control_characters_are_dropped() {
        for (given, expected) in [
            ("job", "job"),
            ("target/release/my job", "my job"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("C:evil", "evil"),
            ("/", "program"),
            ("..", "program"),
            ("a\0b\nc\u{202e}d", "abcd"),
            ("größe", "größe"),
        ] {
            assert_eq!(display_name(Some(given)), expected);
        }
        assert_eq!(display_name(None), "program");
        assert_eq!(display_name(Some(&"ü".repeat(300))).len(), 254);
    }
}
