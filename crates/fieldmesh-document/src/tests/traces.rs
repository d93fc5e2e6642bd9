//! Text on what people really typed: two devices write one note, change by change.
//!
//! The traces are the first 5,000 keystrokes of a paper by one person, here typed in turns on two
//! devices, and the first 2,000 of two people who wrote at the same time (both from
//! github.com/josephg/editing-traces). A line `change` names the author and the changes that he
//! had seen; the lines below it replace characters: where, how many, by what.

use super::*;

const SEQUENTIAL: &str = include_str!("traces/sequential.txt");
const CONCURRENT: &str = include_str!("traces/concurrent.txt");

/// One change of a trace.
struct Typed {
    author: u8,
    seen: Vec<usize>,
    patches: Vec<(usize, usize, String)>,
}

/// The changes of a trace, and the text in which it ends if that is known.
fn read(trace: &str) -> (Vec<Typed>, Option<String>) {
    let (mut changes, mut end) = (Vec::<Typed>::new(), None);
    for line in trace.lines() {
        let parts: Vec<_> = line.splitn(3, '\t').collect();
        match parts[0] {
            "change" => changes.push(Typed {
                author: parts[1].parse::<u8>().unwrap() + 1,
                seen: parts[2]
                    .split(',')
                    .filter(|it| !it.is_empty())
                    .map(|it| it.parse().unwrap())
                    .collect(),
                patches: Vec::new(),
            }),
            "end" => end = Some(unescape(&line[4..])),
            place => {
                let patch = (place.parse().unwrap(), parts[1].parse().unwrap(), unescape(parts[2]));
                changes.last_mut().unwrap().patches.push(patch);
            }
        }
    }
    (changes, end)
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                _ => '\\',
            },
            other => other,
        });
    }
    plain
}

/// Types on a plain list of characters; what others took away cannot be replaced.
fn type_into(text: &str, typed: &Typed) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (at, removed, inserted) in &typed.patches {
        let at = (*at).min(characters.len());
        let end = (at + removed).min(characters.len());
        characters.splice(at..end, inserted.chars());
    }
    characters.into_iter().collect()
}

fn note(replica: &Replica) -> String {
    match replica.field("notes") {
        Some(Value::Text(text)) => text,
        _ => String::new(),
    }
}

fn blank_crew() -> [Replica; 2] {
    let mut fields = production();
    fields.remove("notes");
    crew_with(&fields)
}

#[test]
fn what_one_person_types_in_turns_on_two_devices_reads_as_typed() {
    let (typed, end) = read(SEQUENTIAL);
    let mut crew = blank_crew();
    let mut plain = String::new();
    for (hours, change) in (1..).zip(&typed) {
        let (author, other) = (usize::from(change.author - 1), usize::from(2 - change.author));
        let seen = crew[other].clone();
        crew[author].pull(&seen);
        plain = type_into(&plain, change);
        crew[author].edit(hours, &[Edit::set("notes", plain.as_str())]);
    }
    meet(&mut crew);
    assert_eq!(plain, end.unwrap(), "the plain model agrees with the record");
    for replica in &crew {
        assert_eq!(note(replica), plain);
        assert_eq!(replica.open_conflicts(), []);
    }
}

#[test]
fn what_two_people_type_at_once_reads_alike_everywhere() {
    let (typed, end) = read(CONCURRENT);
    let crew = blank_crew();
    // Each change is made on exactly what its author had seen then.
    let mut states: Vec<Replica> = Vec::with_capacity(typed.len());
    for (hours, change) in (1..).zip(&typed) {
        let mut replica = crew[usize::from(change.author - 1)].clone();
        for seen in &change.seen {
            replica.pull(&states[*seen]);
        }
        let text = type_into(&note(&replica), change);
        replica.edit(hours, &[Edit::set("notes", text)]);
        states.push(replica);
    }
    let mut all = [states[0].clone(), states[states.len() - 1].clone()];
    for state in &states {
        all[0].pull(state);
    }
    for state in states.iter().rev() {
        all[1].pull(state);
    }
    let text = note(&all[0]);
    assert_eq!(note(&all[1]), text);
    let backwards = all[0].changes.values().rev().map(Vec::as_slice);
    let backwards = Document::load(all[0].id, backwards).unwrap();
    assert_eq!(backwards.view(entries()).unwrap().fields["notes"], text.as_str().into());
    assert_eq!(all[0].open_conflicts(), []);
    // Nothing that was typed and not taken away is lost or doubled.
    let typed: usize = typed.iter().flat_map(|it| &it.patches).map(|it| it.2.chars().count()).sum();
    assert!(text.chars().count() <= typed && text.chars().count() > typed / 2);
    if let Some(end) = end {
        assert_eq!(text, end);
    }
}
