//! Every decoder against the inputs in `corpus` and some thousand mutations of each.
//!
//! `README.md` beside this says how to go on with coverage-guided fuzzing.

// A failed unwrap in a helper fails the test, as it should.
#![allow(clippy::unwrap_used)]

mod conversation;
mod decoders;
mod disk;
mod replica;
mod seeds;

use std::path::{Path, PathBuf};

use decoders::{DECODERS, Decoder};

/// Mutations of each input in an ordinary run; `FIELDMESH_MUTATIONS` asks for more.
const MUTATIONS: usize = 200;
/// The longest mutated input; longer ones are replayed as they are.
const LENGTH_MAX: usize = 128 * 1024;

/// The same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name)
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let files = folder(name).read_dir().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(path).unwrap());
    paths.into_iter().map(read).collect()
}

fn mutate(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(bytes.len());
        match numbers.below(8) {
            _ if bytes.is_empty() => bytes.extend(other),
            0 | 1 => bytes[place] ^= 1 << numbers.below(8),
            2 => bytes[place] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][numbers.below(6)],
            3 => bytes.truncate(place),
            4 => bytes.insert(place, u8::try_from(numbers.below(256)).unwrap()),
            5 => drop(bytes.remove(place)),
            6 => {
                let end = (place + numbers.below(40)).min(bytes.len());
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            _ => {
                let from = numbers.below(other.len());
                bytes.truncate(place);
                bytes.extend(&other[from.min(other.len())..]);
            }
        }
    }
    bytes.truncate(LENGTH_MAX);
    bytes
}

/// Runs one input; a panic says which.
fn run(decoder: &Decoder, name: &str, input: &[u8]) {
    let done = std::panic::catch_unwind(|| (decoder.run)(input));
    if done.is_err() {
        let file = std::env::temp_dir().join(format!("{}-{}", decoder.name, std::process::id()));
        std::fs::write(&file, input).unwrap();
        panic!("{} panics on what became of {name}; it lies in {}", decoder.name, file.display());
    }
}

#[test]
fn no_decoder_fails_on_what_was_found_before_nor_on_what_is_near_it() {
    let mutations = std::env::var("FIELDMESH_MUTATIONS").ok();
    let mutations = mutations.and_then(|count| count.parse().ok()).unwrap_or(MUTATIONS);
    std::thread::scope(|scope| {
        for decoder in &DECODERS {
            scope.spawn(move || {
                let corpus = corpus(decoder.name);
                assert!(!corpus.is_empty(), "{} has no corpus", decoder.name);
                let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
                for (name, input) in &corpus {
                    run(decoder, name, input);
                    for _ in 0..mutations {
                        let other = &corpus[numbers.below(corpus.len())].1;
                        run(decoder, name, &mutate(input, other, &mut numbers));
                    }
                }
            });
        }
    });
}

#[test]
#[ignore = "writes the first inputs of every corpus anew"]
fn write_the_seeds() {
    for (decoder, name, bytes) in seeds::seeds() {
        std::fs::create_dir_all(folder(decoder)).unwrap();
        std::fs::write(folder(decoder).join(name), bytes).unwrap();
    }
}
