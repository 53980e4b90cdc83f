//! The fuzz targets for a moment: every file of the corpus, and some thousands of changed ones. A panic says
//! the seed and writes the bytes; put those into `fuzz/corpus` before you mend what they broke.

#[path = "../fuzz/targets.rs"]
mod targets;

use rowcall::demo::Dice;
use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    panic::catch_unwind,
    path::Path,
};

fn run(target: fn(&[u8]), folder: &str, times: u32) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
    let files = fs::read_dir(&folder).expect("the corpus").map(|it| it.expect("an entry").path());
    let mut corpus: Vec<Vec<u8>> = files.map(|it| fs::read(it).expect("a file of the corpus")).collect();
    corpus.sort();
    assert!(corpus.len() > 5, "hardly any corpus in {}", folder.display());
    corpus.iter().for_each(|bytes| target(bytes));
    let given = std::env::var("ROWCALL_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let mut dice = Dice::new(seed);
    for _ in 0..times {
        let bytes = changed(&corpus, &mut dice);
        if catch_unwind(|| target(&bytes)).is_err() {
            let kept = std::env::temp_dir().join(format!("rowcall-fuzz-{seed}"));
            fs::write(&kept, &bytes).expect("to keep what broke it");
            panic!("ROWCALL_SEED={seed}: {} breaks it", kept.display());
        }
    }
}

/// One of the corpus with some bytes flipped, cut out, doubled, or taken from another one.
fn changed(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.one(corpus).clone();
    for _ in 0..=dice.below(4) {
        let (from, to) = {
            let (one, other) = (place(&bytes, dice), place(&bytes, dice));
            (one.min(other), one.max(other).min(one.min(other) + 64))
        };
        match dice.below(5) {
            0 if !bytes.is_empty() => {
                let at = place(&bytes, dice).min(bytes.len() - 1);
                bytes[at] ^= 1 << dice.below(8);
            }
            1 => drop(bytes.drain(from..to)),
            2 => {
                let part = bytes[from..to].to_vec();
                bytes.splice(from..from, part);
            }
            3 => bytes.truncate(to),
            _ => {
                let other = dice.one(corpus);
                let (start, end) = (place(other, dice), place(other, dice));
                let part = other[start.min(end)..start.max(end).min(start.min(end) + 64)].to_vec();
                bytes.splice(from..to, part);
            }
        }
    }
    bytes
}

fn place(bytes: &[u8], dice: &mut Dice) -> usize {
    dice.below(bytes.len() as u64 + 1) as usize
}

#[test]
fn any_bytes_are_decoded_or_refused() {
    run(targets::decode, "decode", 200_000);
}

#[test]
fn any_expression_is_refused_or_evaluated() {
    run(targets::expression, "expression", 3_000);
}

#[test]
fn any_configuration_is_read_or_refused() {
    run(targets::configuration, "configuration", 600);
}

#[test]
fn any_request_of_an_operator_is_answered_or_refused() {
    run(targets::admin, "admin", 20_000);
}
