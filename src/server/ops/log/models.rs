//! A model of the allowances.

use loom::model;
use loom::thread;

use super::*;

#[test]
fn the_last_line_of_an_allowance_is_taken_once() {
    model(|| {
        let counts = Arc::new(LogCounts::default());
        let allowance = &counts.allowances[Kind::Left as usize];
        allowance.left.store(1, Ordering::Relaxed);
        let others = [0, 1].map(|_| {
            let counts = Arc::clone(&counts);
            thread::spawn(move || counts.allows(Kind::Left))
        });
        let allowed = others.map(|other| other.join().unwrap());
        assert_eq!(allowed.into_iter().filter(|allowed| *allowed).count(), 1);
        assert_eq!(counts.suppressed(), 1);
    });
}
