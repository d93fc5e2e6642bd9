//! The one file in a form of several parts.

/// The type and the bytes of the part called `file`.
pub(super) fn file(body: &[u8], boundary: &str) -> Option<(String, Vec<u8>)> {
    let boundary = boundary.split(';').next()?.trim();
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

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
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
}
