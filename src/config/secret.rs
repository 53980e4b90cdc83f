//! Secrets: which values are treated as such, and `file:/run/secrets/x`, by which one is read.

use std::{fs::File, io::Read, path::Path};

/// Whether a key's value is to be treated as a secret for its name: free values (a step's body, a
/// class's settings) have no schema to say so.
pub fn sounds_so(key: &str) -> bool {
    const WORDS: &[&str] = &["password", "secret", "token", "authorization", "api_key", "apikey", "api-key"];
    let key = key.to_lowercase();
    WORDS.iter().any(|it| key.contains(it))
}

/// No bundle of certificates is longer; a wrong path may name something endless.
const LIMIT: u64 = 1 << 20;

/// The content without its trailing line break; or what is wrong with the file.
pub fn read(folder: &Path, file: &str) -> Result<String, String> {
    if file.is_empty() {
        return Err("`file:` takes a path, such as `file:/run/secrets/token`".to_owned());
    }
    // A path without a leading slash is relative to the configuration, not to wherever the
    // process was started.
    let path = folder.join(file);
    let mut content = String::new();
    let read = File::open(&path).and_then(|it| it.take(LIMIT + 1).read_to_string(&mut content));
    read.map_err(|error| format!("cannot read the secret in {}: {error}", path.display()))?;
    if content.len() as u64 > LIMIT {
        return Err(format!("the secret in {} is longer than {LIMIT} bytes", path.display()));
    }
    let secret = content.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(format!("the secret in {} is empty", path.display()));
    }
    Ok(secret.to_owned())
}
