//! Finds the names that a mistyped one may mean.

/// The most names that are offered.
const OFFERED_MAX: usize = 3;
/// The most characters of which a distance is counted.
const COUNTED_MAX: usize = 64;

/// The last parts of those of `names` that `typed` may mean, best first.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = last(typed).to_lowercase();
    let limit = (typed.chars().count() / 4).clamp(1, 3);
    let mut near: Vec<_> = names
        .filter_map(|name| {
            let short = last(name);
            let lower = short.to_lowercase();
            let starts = typed.len() >= 3 && (lower.starts_with(&typed) || lower.ends_with(&typed));
            let far = if starts { 1 } else { distance(&typed, &lower) };
            (far <= limit).then_some((far, short))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(OFFERED_MAX);
    near.into_iter().map(|(_, name)| name).collect()
}

fn last(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

// The number of characters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<_> = right.chars().take(COUNTED_MAX).collect();
    let mut row: Vec<_> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(COUNTED_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_the_one_meant() {
        let names = ["data.oilVolume", "data.gasVolume", "wellId", "notes"];
        assert_eq!(nearest("oilVolum", names.into_iter()), ["oilVolume"]);
        assert_eq!(nearest("oilvolume", names.into_iter()), ["oilVolume"]);
        assert_eq!(nearest("well", names.into_iter()), ["wellId"]);
        assert!(nearest("barometer", names.into_iter()).is_empty());
        assert!(nearest("", names.into_iter()).is_empty());
    }
}
