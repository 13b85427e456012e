//! The keys of a server's hashes and tokens.

use std::hash::Hasher;
use std::io;

use siphasher::sip::SipHasher24;

/// Draws keys, all of them from one root. So a server whose root is known does the same again for
/// the same datagrams.
#[derive(Debug)]
pub struct Keys {
    root: (u64, u64),
    drawn: u64,
}

impl Keys {
    /// Returns keys that nobody else knows.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> io::Result<Self> {
        let random = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
        Ok(Self::from_root((random()?, random()?)))
    }

    /// Returns the keys of a root, for a server that is not open to strangers.
    pub fn from_root(root: (u64, u64)) -> Self {
        Self { root, drawn: 0 }
    }

    /// Returns another key, by SipHash-2-4 (Aumasson and Bernstein, 2012). A key tells nothing about
    /// the others.
    pub fn draw(&mut self) -> (u64, u64) {
        let mut half = || {
            self.drawn += 1;
            let mut hasher = SipHasher24::new_with_keys(self.root.0, self.root.1);
            hasher.write_u64(self.drawn);
            hasher.finish()
        };
        (half(), half())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_the_same_keys_each_time_and_no_key_twice() {
        let keys = |root| {
            let mut keys = Keys::from_root(root);
            [keys.draw(), keys.draw(), keys.draw()]
        };
        let [first, second, third] = keys((1, 2));
        assert_eq!([first, second, third], keys((1, 2)));
        assert!(first != second && second != third && first.0 != first.1);
        assert_ne!(first, keys((1, 3))[0]);
        assert_ne!(
            keys((0, 0)),
            Keys::random().map(|mut keys| [keys.draw(); 3]).unwrap()
        );
    }
}
