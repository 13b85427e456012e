use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Texts that were said, each with a number of its own.
struct Texts {
    texts: Unanswered<Said>,
    now: Instant,
    said: u64,
}

impl Texts {
    fn of<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut new = Self {
            texts: Unanswered::default(),
            now: Instant::now(),
            said: 0,
        };
        texts.into_iter().for_each(|text| new.say(text));
        new
    }

    fn say(&mut self, text: impl AsRef<[u8]>) {
        let (responder, _) = Responder::new::<()>(self.said);
        self.said += 1;
        let mut said = Said::new(None, text.as_ref().to_vec(), responder);
        said.set_line(text.as_ref());
        self.texts.push(self.now + 300 * MS, said);
    }

    /// Takes a text, and returns the number of the one that it is the echo of.
    fn echo(&mut self, text: impl AsRef<[u8]>, may_be_cut: bool, is_own: bool) -> Option<u64> {
        let hurry_by = self.now + 100 * MS;
        let text = text.as_ref();
        let said = self
            .texts
            .text_received(None, text, may_be_cut, is_own, hurry_by)?;
        Some(said.responder.id.0)
    }

    fn expired(&mut self, after_ms: u64) -> Vec<u64> {
        let expired = self
            .texts
            .expire(self.now + Duration::from_millis(after_ms));
        expired.iter().map(|said| said.responder.id.0).collect()
    }
}

#[test]
fn an_echo_delivers_its_text_once() {
    let mut texts = Texts::of(["one", "two", "one"]);
    assert_eq!(texts.echo("other", false, true), None);
    for (number, text) in ["one", "two", "one"].into_iter().enumerate() {
        assert_eq!(texts.echo(text, false, true), Some(number as u64));
    }
    assert_eq!(texts.echo("one", false, true), None);
    assert_eq!(texts.texts.poll_timeout(), None);
}

#[test]
fn a_text_that_a_later_one_overtook_may_come_for_a_while() {
    let mut texts = Texts::of(["one", "two", "three", "four"]);
    assert_eq!(texts.echo("three", false, true), Some(2));
    assert_eq!(
        texts.echo("two", false, true),
        Some(1),
        "swapped on the way"
    );
    assert_eq!(texts.expired(99), [0; 0]);
    assert_eq!(texts.expired(100), [0], "lost");
    assert_eq!(texts.expired(299), [0; 0]);
    assert_eq!(texts.echo("four", false, true), Some(3));
}

#[test]
fn the_text_of_another_peer_may_be_an_echo_but_proves_no_loss() {
    let mut texts = Texts::of(["one", "two"]);
    assert_eq!(texts.echo("two", false, false), Some(1));
    assert_eq!(texts.expired(299), [0; 0]);
    assert_eq!(texts.echo("one", false, true), Some(0));
}

#[test]
fn in_v1_the_echo_is_printable() {
    let mut texts = Texts::of(["a\x1b[2J ümlaut"]);
    assert_eq!(texts.echo("a\x1b[2J", false, true), None);
    assert_eq!(texts.echo("a\\x1b[2J ümlaut", false, true), Some(0));
}

#[test]
fn in_v1_the_echo_of_a_long_text_is_cut() {
    let long = "x".repeat(1100);
    let mut texts = Texts::of([&long]);
    assert_eq!(texts.echo(&long[..500], false, true), None, "another text");
    assert_eq!(texts.echo("y".repeat(1014), true, true), None);
    assert_eq!(texts.echo(&long[..1014], true, true), Some(0));
}

#[test]
fn without_an_echo_a_text_expires() {
    let mut texts = Texts::of(["0", "1"]);
    texts.now += MS;
    texts.say("2");
    assert_eq!(texts.texts.poll_timeout(), Some(texts.now + 299 * MS));
    assert_eq!(texts.expired(298), [0; 0]);
    assert_eq!(texts.expired(299), [0, 1]);
    assert_eq!(texts.texts.poll_timeout(), Some(texts.now + 300 * MS));
}
