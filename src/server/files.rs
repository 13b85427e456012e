//! Files that people write, and their paths in messages.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of at most `max_bytes`, which bounds the memory that a mistaken path takes.
///
/// # Errors
/// That of the system, or a sentence that says what the file must be.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe may wait for ever, and it cannot be read again.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it must be a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max_bytes + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let sentence = format!("it must have at most {} KiB", max_bytes >> 10);
        return Err(io::Error::other(sentence));
    }
    Ok(bytes)
}

/// Returns a path as messages show it, in one line.
pub fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn a_file_is_regular_and_small() {
        let path = env::temp_dir().join(format!("bullhorn-files-{}", process::id()));
        fs::write(&path, [b'x'; 1024]).unwrap();
        assert_eq!(read(&path, 1024).unwrap().len(), 1024);
        fs::write(&path, [b'x'; 1025]).unwrap();
        let error = read(&path, 1024).unwrap_err();
        assert_eq!(error.to_string(), "it must have at most 1 KiB");
        fs::remove_file(&path).unwrap();
        let error = read(&path, 1024).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        for path in ["/", "/dev/zero", "/proc/self/fd"] {
            let error = read(Path::new(path), 1024).unwrap_err();
            assert_eq!(error.to_string(), "it must be a regular file", "{path}");
        }
    }

    #[test]
    fn a_path_is_shown_in_one_line() {
        assert_eq!(shown(Path::new("/a b/\u{fc}")), "/a b/\u{fc}");
        assert_eq!(shown(Path::new("a\nb\u{1b}[2J")), "a?b?[2J");
    }
}
