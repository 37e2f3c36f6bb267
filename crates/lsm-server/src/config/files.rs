//! The files of the server itself: its configuration, its tokens, the directory of the store.
//!
//! They are no part of a database, so they do not go through the engine's file system: this is the
//! one file of the server that calls the operating system's.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::{ConfigError, Settings};

/// Longest file that is read as a configuration or a token.
const LONGEST_FILE: u64 = 1 << 20;
/// Fewer bytes than this are no secret.
const SHORTEST_TOKEN: usize = 16;
/// A token must fit a header with room to spare.
const LONGEST_TOKEN: usize = 4096;
/// Where a server without a configured token keeps the one for its admin routes.
const ADMIN_TOKEN_FILE: &str = "ADMIN_TOKEN";
/// The bits of a mode by which others than the owner may do anything, and by which they may write.
const OPEN_TO_OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// What the file of the admin token is called until it is whole.
const ADMIN_TOKEN_TEMP: &str = "ADMIN_TOKEN.tmp";

/// A secret, of which only a digest is kept.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
}

impl Token {
    /// A token; `source` names where it came from.
    ///
    /// # Errors
    ///
    /// If it is too short or too long, or holds what a header cannot carry.
    pub fn new(text: &str, source: &str) -> Result<Token, ConfigError> {
        let refuse = |why: &str| Err(ConfigError(format!("the token of {source} {why}")));
        if text.len() < SHORTEST_TOKEN {
            return refuse("must have at least 16 bytes");
        }
        if LONGEST_TOKEN < text.len() {
            return refuse("must have at most 4096 bytes");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("must be printable ASCII without blanks");
        }
        Ok(Token { digest: Sha256::digest(text).into() })
    }

    /// Whether these bytes are the token. Digests are compared, in constant time, so that the time
    /// tells nothing about how much of a guess is right.
    #[must_use]
    pub fn is(&self, guess: &[u8]) -> bool {
        self.digest.ct_eq(&Sha256::digest(guess)[..]).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Reads a TOML file of settings.
pub(super) fn read_settings(path: &Path) -> Result<Settings, ConfigError> {
    let TextFile { text, .. } = read_text(path, "--config")?;
    toml::from_str(&text)
        .map_err(|error| ConfigError(format!("--config {}: {error}", path.display())))
}

/// The token of a file, and who knows it.
pub(super) struct TokenFile {
    pub(super) token: Token,
    /// Whether other users of the machine may read it.
    pub(super) is_shared: bool,
}

/// Reads the token of a file whose one line it is.
///
/// What others may read is taken, because secrets are often handed to a process in such files. What
/// others may write is not: they would choose who is let in.
pub(super) fn read_token(path: &Path) -> Result<TokenFile, ConfigError> {
    let TextFile { text, mode } = read_text(path, "--token-file")?;
    if mode & WRITABLE_BY_OTHERS != 0 {
        let path = path.display();
        return Err(ConfigError(format!(
            "--token-file {path}: group or others may write to it; chmod go-w it first"
        )));
    }
    Ok(TokenFile { token: token_of(&text, path)?, is_shared: mode & OPEN_TO_OTHERS != 0 })
}

/// The token that a file holds as its one line.
fn token_of(text: &str, path: &Path) -> Result<Token, ConfigError> {
    Token::new(text.trim_end_matches(['\r', '\n']), &path.display().to_string())
}

/// The token that admin routes ask for where no token is configured.
///
/// It is made at the first start, of 32 random bytes, in a file that only the owner may read. An
/// empty file is as good as none: a crash or a full disk may have left it. One that others may read
/// or write is none of ours, or was made so since, and is no secret.
///
/// # Errors
///
/// If the file cannot be read, made, or understood, or is open to others.
pub fn admin_token(data_dir: &Path) -> Result<Token, ConfigError> {
    let path = data_dir.join(ADMIN_TOKEN_FILE);
    if fs::metadata(&path).map_or(0, |attributes| attributes.len()) == 0 {
        return make_admin_token(data_dir)
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())));
    }
    let TextFile { text, mode } = read_text(&path, "the admin token")?;
    if mode & OPEN_TO_OTHERS != 0 {
        return Err(ConfigError(format!(
            "{}: others may read or write it; chmod 600 it, or delete it and a new one is made",
            path.display()
        )));
    }
    token_of(&text, &path)
}

/// Makes the token under another name and renames it, so that it is there whole or not at all.
fn make_admin_token(data_dir: &Path) -> io::Result<Token> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = data_dir.join(ADMIN_TOKEN_TEMP);
    // What a crash left of an earlier one; the store's lock keeps other servers away.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(format!("{digits}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, data_dir.join(ADMIN_TOKEN_FILE))?;
    fs::File::open(data_dir)?.sync_all()?;
    Token::new(&digits, ADMIN_TOKEN_FILE).map_err(|error| io::Error::other(error.0))
}

/// Makes the directory of the store if it is missing, and checks that it is its owner's alone to
/// change. Returns its absolute path.
///
/// # Errors
///
/// If it cannot be made, is no directory, or group or others may write to it.
pub fn prepare_data_dir(dir: &Path) -> Result<PathBuf, ConfigError> {
    let failed =
        |why: &dyn fmt::Display| ConfigError(format!("--data-dir {}: {why}", dir.display()));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| fs::canonicalize(dir))
        .and_then(|path| Ok((fs::metadata(&path)?, path)))
        .map_err(|error| failed(&error))
        .and_then(|(attributes, path)| match attributes.mode() & WRITABLE_BY_OTHERS {
            0 => Ok(path),
            _ => Err(failed(&"group or others may write to it; chmod go-w it first")),
        })
}

/// Whether this process runs as root; `false` where the system does not tell.
#[must_use]
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|attributes| attributes.uid() == 0)
}

/// A file that was read whole.
struct TextFile {
    text: String,
    /// Who may do what with it.
    mode: u32,
}

fn read_text(path: &Path, what: &str) -> Result<TextFile, ConfigError> {
    let failed = |error: io::Error| ConfigError(format!("{what} {}: {error}", path.display()));
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if LONGEST_FILE < text.len() as u64 {
        return Err(ConfigError(format!("{what} {}: longer than 1 MiB", path.display())));
    }
    Ok(TextFile { text, mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// The shortest time that one of some rounds of comparisons takes, for each guess. Rounds take
    /// turns, so that what else the machine does meets all guesses alike.
    fn shortest_times<const N: usize>(token: &Token, guesses: &[String; N]) -> [Duration; N] {
        let mut shortest = [Duration::MAX; N];
        for _ in 0..200 {
            for (guess, shortest) in guesses.iter().zip(&mut shortest) {
                let start = Instant::now();
                for _ in 0..10 {
                    assert!(
                        !std::hint::black_box(token).is(std::hint::black_box(guess.as_bytes()))
                    );
                }
                *shortest = (*shortest).min(start.elapsed());
            }
        }
        shortest
    }

    #[test]
    fn s7_the_time_of_a_comparison_does_not_tell_where_a_guess_is_wrong() {
        let right = "r".repeat(LONGEST_TOKEN);
        let token = Token::new(&right, "test").unwrap();
        assert!(token.is(right.as_bytes()));
        // Nothing is kept but the digest, so that there is no text to compare up to a difference.
        assert_eq!(size_of::<Token>(), size_of::<[u8; 32]>());
        let wrong_at = |index: usize| {
            let mut guess = right.clone().into_bytes();
            guess[index] = b'w';
            String::from_utf8(guess).unwrap()
        };
        let guesses = [0, 1, 16, LONGEST_TOKEN / 2, LONGEST_TOKEN - 1].map(wrong_at);
        let times = shortest_times(&token, &guesses);
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        // A comparison that ends at the first difference takes many times as long for the last guess
        // as for the first.
        assert!(*most < *least * 3 / 2, "{times:?}");
    }
}
