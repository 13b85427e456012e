//! Commands as one would type them.

/// `words` as one line for a POSIX shell, which takes it apart into the same words.
pub(super) fn line(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    quoted.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:,=+@%".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn plain_words_stay_as_they_are() {
        let words = ["loadgen", "--mix=ping:1,text:9", "127.0.0.1:9999"].map(str::to_owned);
        assert_eq!(line(&words), "loadgen --mix=ping:1,text:9 127.0.0.1:9999");
    }

    #[test]
    fn a_shell_takes_a_line_apart_into_the_same_words() {
        let words = [
            "",
            "two words",
            "it's",
            "$HOME `id` \\",
            "a\nb",
            "*",
            "~",
            "\"",
            "é",
            "#",
            "a;b&c",
        ];
        let words = words.map(str::to_owned);
        let script = format!(r"printf '%s\0' {}", line(&words));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let heard: Vec<_> = out.split_terminator('\0').collect();
        assert_eq!(heard, words);
    }
}
