//! Memory for the bytes of many texts.

/// The bytes of all texts, in one block of memory. When the block is full, the bytes that are still
/// needed move to another one of twice their size. So each byte is moved once on average, and after
/// a flood the next block is smaller.
pub(super) struct Arena {
    bytes: Vec<u8>,
    /// The number of bytes that are still needed.
    used: usize,
}

/// The place of a text in an [`Arena`].
#[derive(Debug, Default)]
pub(super) struct Place {
    start: usize,
    len: u16,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MIN_BYTES),
            used: 0,
        }
    }

    /// Adds a text. `places` are those of all texts in the arena, which may have to move. An empty
    /// text has no place of its own, because the bytes do not grow by it, and may be cleared without
    /// it.
    pub(super) fn push<'a>(
        &mut self,
        text: &[u8],
        places: impl Iterator<Item = &'a mut Place>,
    ) -> Place {
        if text.is_empty() {
            return Place::default();
        }
        if self.bytes.len() + text.len() > self.bytes.capacity() {
            let capacity = MIN_BYTES.max(2 * (self.used + text.len()));
            let before = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
            for place in places.filter(|place| place.len > 0) {
                let start = self.bytes.len();
                let bytes = &before[place.start..][..place.len()];
                self.bytes.extend_from_slice(bytes);
                place.start = start;
            }
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.used += text.len();
        Place {
            start,
            len: text.len() as u16,
        }
    }

    pub(super) fn get(&self, place: &Place) -> &[u8] {
        &self.bytes[place.start..][..place.len()]
    }

    /// Removes a text.
    pub(super) fn free(&mut self, place: &Place) {
        self.used -= place.len();
        if self.used == 0 {
            self.bytes.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

impl Place {
    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len.into()
    }
}

/// Minimum size of the block, so that texts seldom move while few wait.
const MIN_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_is_there_when_the_others_have_moved_or_are_gone() {
        let mut arena = Arena::new();
        let long = arena.push(&[1; MIN_BYTES - 1], [].iter_mut());
        let mut places = [long, arena.push(b"", [].iter_mut())];
        let moved = arena.push(b"abc", places.iter_mut());
        places.iter().for_each(|place| arena.free(place));
        assert_eq!(
            (arena.get(&moved), arena.get(&places[1])),
            (&b"abc"[..], &b""[..])
        );
        arena.free(&moved);
        assert_eq!((arena.used(), arena.get(&places[1])), (0, &b""[..]));
    }

    #[test]
    fn texts_move_seldom_and_memory_goes_back() {
        let mut arena = Arena::new();
        let mut places: Vec<Place> = Vec::new();
        let text = |number: usize| vec![number as u8; number % 700];
        let (mut capacity, mut moves) = (arena.bytes.capacity(), 0);
        for number in 0..10_000 {
            let place = arena.push(&text(number), places.iter_mut());
            places.push(place);
            if number >= 2_000 {
                arena.free(&std::mem::take(&mut places[number - 2_000]));
            }
            if arena.bytes.capacity() != capacity {
                capacity = arena.bytes.capacity();
                moves += 1;
            }
            assert!(capacity <= 4 * 2_001 * 700);
        }
        assert!((2..20).contains(&moves), "{moves}");
        for (number, place) in places.iter().enumerate().skip(8_000) {
            assert_eq!(arena.get(place), text(number));
            arena.free(place);
        }
        assert_eq!((arena.used(), arena.bytes.len()), (0, 0));
        let long = arena.push(&[0; 60_000], [].iter_mut());
        let other = arena.push(&[1; 60_000], [].iter_mut());
        assert_eq!(
            (arena.used(), arena.get(&other)),
            (120_000, &[1; 60_000][..])
        );
        arena.free(&long);
        // Nothing but the second one is needed.
        let mut places = [other];
        for _ in 0..100 {
            let place = arena.push(&[2; 60_000], places.iter_mut());
            arena.free(&place);
        }
        assert_eq!(arena.get(&places[0]), [1; 60_000]);
        assert!(arena.bytes.capacity() <= 4 * 60_000);
    }
}
