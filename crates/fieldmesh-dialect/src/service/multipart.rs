//! The one file in a form of several parts.

/// The longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_SIZE_MAX: usize = 70;

/// The type and the bytes of the part called `file`.
pub(super) fn file(body: &[u8], boundary: &str) -> Option<(String, Vec<u8>)> {
    let boundary = boundary.split(';').next()?.trim();
    if !(1..=BOUNDARY_SIZE_MAX).contains(&boundary.len()) {
        return None;
    }
    let line = format!("--{boundary}");
    let mut rest = after(body, line.as_bytes())?;
    loop {
        let part = rest.strip_prefix(b"\r\n")?;
        let end = find(part, format!("\r\n{line}").as_bytes())?;
        let (part, behind) = part.split_at_checked(end)?;
        if let Some(found) = named_file(part) {
            return Some(found);
        }
        rest = behind.get(2 + line.len()..)?;
    }
}

fn named_file(part: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(part.get(..end)?).ok()?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let disposition = header("content-disposition")?;
    let is_file = disposition.split(';').any(|item| item.trim() == "name=\"file\"");
    let kind = header("content-type")?.to_owned();
    is_file.then(|| Some((kind, part.get(end + 4..)?.to_vec())))?
}

fn after<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    bytes.get(find(bytes, wanted)? + wanted.len()..)
}

/// Where `wanted` is found first, in a time that grows with the sum of both lengths: no byte is
/// looked at again, however often a beginning of it is found (Knuth, Morris, Pratt).
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    // For each beginning of it, how long its longest end is that is a beginning, too.
    let mut alike = vec![0; wanted.len()];
    let mut length = 0;
    for at in 1..wanted.len() {
        length = longer(wanted, &alike, length, wanted[at]);
        alike[at] = length;
    }
    let mut found = 0;
    for (at, byte) in bytes.iter().enumerate() {
        found = longer(wanted, &alike, found, *byte);
        if found == wanted.len() {
            return Some(at + 1 - found);
        }
    }
    None
}

/// How long a beginning of `wanted` is that ends with `byte`, behind one of `length`.
fn longer(wanted: &[u8], alike: &[usize], mut length: usize, byte: u8) -> usize {
    while length > 0 && wanted[length] != byte {
        length = alike[length - 1];
    }
    length + usize::from(wanted[length] == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_called_file_is_found_among_others() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--b\r\n\
                     Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
                     Content-Type: image/png\r\n\r\n\x89PNG\r\n--\r\n--b--\r\n";
        let (kind, bytes) = file(body, "b").unwrap();
        assert_eq!((kind.as_str(), bytes.as_slice()), ("image/png", &b"\x89PNG\r\n--"[..]));
        assert_eq!(file(b"--b\r\n\r\n", "b"), None);
        assert_eq!(file(b"", ""), None);
    }

    /// A form whose file is `bytes`.
    fn form(boundary: &str, bytes: &[u8]) -> Vec<u8> {
        let head = "Content-Disposition: form-data; name=\"file\"\r\nContent-Type: image/png";
        let head = format!("--{boundary}\r\n{head}\r\n\r\n");
        [head.as_bytes(), bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat()
    }

    #[test]
    fn a_boundary_that_no_client_may_choose_is_refused_before_anything_is_searched() {
        let (longest, longer) = ("b".repeat(70), "b".repeat(71));
        assert!(file(&form(&longest, b"x"), &longest).is_some());
        assert_eq!(file(&form(&longer, b"x"), &longer), None);
        assert_eq!(file(&form("", b"x"), ""), None);
    }

    #[test]
    fn a_photo_that_nearly_holds_its_boundary_everywhere_is_found_as_it_was_sent() {
        let boundary = format!("{}b", "-".repeat(69));
        let photo = [b"\r\n".to_vec(), vec![b'-'; 1 << 20]].concat();
        let (_, found) = file(&form(&boundary, &photo), &boundary).unwrap();
        assert!(found == photo);
    }

    #[test]
    fn a_text_is_found_where_a_search_window_by_window_finds_it() {
        let words = |length: u32| {
            (0..2_usize.pow(length)).map(move |bits| -> Vec<u8> {
                (0..length).map(|bit| if bits >> bit & 1 == 0 { b'a' } else { b'b' }).collect()
            })
        };
        for wanted in (1..=5).flat_map(words) {
            for bytes in (0..=9).flat_map(words) {
                let by_window = bytes.windows(wanted.len()).position(|window| window == wanted);
                assert_eq!(find(&bytes, &wanted), by_window, "{wanted:?} in {bytes:?}");
            }
        }
    }
}
