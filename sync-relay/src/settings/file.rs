//! The configuration file.

use std::path::Path;

use fieldmesh::api::Problem;

use super::Said;
use crate::problem;

/// Every key of the file; each but the last is also a setting of the environment and a flag.
const KEYS: [&str; 26] = [
    "data",
    "quic",
    "tcp",
    "http",
    "public_addresses",
    "open_tenants_max",
    "stored_bytes_max",
    "log",
    "log_format",
    "operations",
    "operations_names",
    "domain",
    "tls_certificate",
    "tls_key",
    "acme_domains",
    "acme_directory",
    "acme_contact",
    "acme_terms_agreed",
    "acme_roots",
    "trusted_proxies",
    "allowed_origins",
    "address_requests_a_second",
    "sync_requests_a_minute",
    "step_requests_a_minute",
    "tenant_requests_a_second",
    "tenants",
];
/// How many letters a misspelt key may be away from the right one to be named.
const DISTANCE_MAX: usize = 3;

/// What the file at `path` says.
pub(super) fn read(path: &Path) -> Result<Said, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| problem::file(path, &error))?;
    parse(&text).map_err(|reason| problem::usage(format!("{}: {reason}", path.display())))
}

/// What a file with this text says.
pub(super) fn parse(text: &str) -> Result<Said, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(unknown(key));
    }
    // Read once more from the text, because only then errors know their lines.
    let mut said: Said = toml::from_str(text).map_err(|error| error.to_string())?;
    said.http = toml::from_str(text).map_err(|error| error.to_string())?;
    said.http.acme = toml::from_str(text).map_err(|error| error.to_string())?;
    Ok(said)
}

fn unknown(key: &str) -> String {
    let written = key.to_lowercase().replace('-', "_");
    let nearest = KEYS
        .iter()
        .map(|known| (distance(&written, known), known))
        .filter(|(distance, known)| *distance <= DISTANCE_MAX.min(known.len() / 2))
        .min();
    match nearest {
        Some((_, known)) => format!("there is no setting {key:?}; did you mean {known:?}?"),
        None => format!("there is no setting {key:?}; the settings are {}", KEYS.join(", ")),
    }
}

/// How many letters must be put in, taken out or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_a_near_one() {
        for (key, near) in [
            ("quick", "quic"),
            ("log-format", "log_format"),
            ("public_address", "public_addresses"),
        ] {
            let error = parse(&format!("{key} = 'x'")).unwrap_err();
            assert!(error.contains(&format!("did you mean {near:?}")), "{error}");
        }
        let error = parse("workers = 4").unwrap_err();
        assert!(error.contains("the settings are data, quic"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_found_with_its_line() {
        for text in [
            "data = 'x'\nquic = '0.0.0.0'",
            "data = 'x'\ntcp = 'on'",
            "data = 'x'\nlog_format = 'xml'",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("line 2"), "{error}");
        }
        assert!(parse("data = ").is_err());
    }

    #[test]
    fn the_distance_counts_letters() {
        for (a, b, expected) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
