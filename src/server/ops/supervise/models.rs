//! Models of the stop.

use loom::model::Builder;

use super::*;

fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// Spawns a thread that sleeps until the stop.
fn spawn_sleeper(supervisor: &mut Supervisor) {
    let parker = Parker::new();
    let wake = wake(&parker);
    let sleep = move |stop: &StopSignal| {
        while !stop.is_stopping() {
            parker.park();
        }
        Ok(())
    };
    supervisor.spawn("sleeper".into(), wake, sleep).unwrap();
}

/// A thread that slept on would be a deadlock.
#[test]
fn no_thread_sleeps_through_the_stop() {
    model(2, || {
        let mut supervisor = Supervisor::new();
        let stop = Arc::clone(supervisor.stop_signal());
        let stopper = thread::spawn(move || stop.stop());
        spawn_sleeper(&mut supervisor);
        assert_eq!(supervisor.wait(), Ok(()));
        assert!(stopper.join().unwrap(), "the first stop");
    });
}

#[test]
fn a_thread_that_dies_wakes_the_others() {
    model(3, || {
        let mut supervisor = Supervisor::new();
        spawn_sleeper(&mut supervisor);
        let die = |_: &StopSignal| Err(io::Error::other("no luck"));
        supervisor.spawn("a".into(), Arc::new(|| {}), die).unwrap();
        let died = supervisor.wait().unwrap_err();
        assert_eq!((&*died.name, &*died.reason), ("a", "no luck"));
    });
}

#[test]
fn one_of_two_stops_is_the_first() {
    model(2, || {
        let mut supervisor = Supervisor::new();
        let stops = [0, 1].map(|_| {
            let stop = Arc::clone(supervisor.stop_signal());
            thread::spawn(move || stop.stop())
        });
        assert_eq!(supervisor.wait(), Ok(()));
        let first = stops.map(|stop| stop.join().unwrap());
        assert_eq!(first.into_iter().filter(|is_first| *is_first).count(), 1);
    });
}
