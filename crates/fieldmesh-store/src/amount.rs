//! Amounts of the disk in words, in the unit that people see everywhere else.

const MEBIBYTE: u64 = 1024 * 1024;

/// What is free, rounded down.
pub(crate) fn free(bytes: u64) -> String {
    in_words(bytes.saturating_mul(10) / MEBIBYTE)
}

/// What is needed, rounded up: whoever frees so much has freed enough.
pub(crate) fn needed(bytes: u64) -> String {
    in_words(bytes.saturating_mul(10).div_ceil(MEBIBYTE))
}

fn in_words(tenths: u64) -> String {
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_frees_what_is_named_has_freed_enough() {
        assert_eq!((free(11_948_032), needed(33_554_480)), ("11.3 MiB".into(), "32.1 MiB".into()));
        assert_eq!((free(1), needed(1)), ("0.0 MiB".into(), "0.1 MiB".into()));
    }
}
