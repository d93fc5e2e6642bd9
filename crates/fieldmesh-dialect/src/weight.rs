//! How much memory a body of JSON takes once it is read, told from its text before anybody reads it.
//!
//! What is small on the wire and within the limit of its bytes can still be millions of values, each
//! many times as large in memory as in the text. This is an estimate, rather too large than too
//! small, in one pass and without allocating.

/// The most that a body may take. A queue of a hundred thousand usual events stays below it.
pub const WEIGHT_MAX: usize = 320 * 1024 * 1024;

/// One value more in a list: its place in it, which grows by doubling.
const VALUE: usize = 64;
/// A list: the room that it begins with.
const LIST: usize = 128;
/// An object: the room that a map begins with.
const OBJECT: usize = 560;
/// A member, besides its value: its key, and its part of further room.
const MEMBER: usize = 80;

/// How many bytes of memory `text` takes once it is read as JSON.
pub(crate) fn weight(text: &[u8]) -> usize {
    let mut weight = text.len();
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        weight += match byte {
            b'[' => LIST,
            b'{' => OBJECT,
            b',' => VALUE,
            b':' => MEMBER,
            b'"' => {
                skip_string(&mut bytes);
                0
            }
            _ => 0,
        };
    }
    weight
}

/// Goes behind the end of a string.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_string_is_no_value() {
        let text = br#""[{,:\"[{,:""#;
        assert_eq!(weight(text), text.len());
        assert_eq!(weight(br#"["\\",0]"#), 8 + LIST + VALUE);
        assert_eq!(weight(br#"{"a":"#), 5 + OBJECT + MEMBER);
        assert_eq!((weight(b""), weight(br#""\"#)), (0, 2));
    }

    #[test]
    fn small_texts_of_many_values_are_heavy() {
        for part in ["0,", "[],", "{},", r#"{"a":0},"#, r#""","#] {
            let text = part.repeat(1_000_000);
            assert!(weight(text.as_bytes()) > 60_000_000, "{part}");
        }
        let notes = format!(r#"{{"notes":"{}"}}"#, "[,".repeat(1_000_000));
        assert!(weight(notes.as_bytes()) < 2_001_000);
    }
}
