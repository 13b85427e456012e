//! The parts from which a chat server or a greeting server is assembled.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::bounded;
use mio::Poll;

use super::clock::Clock;
use super::config::ServerConfig;
use super::host::Endpoints;
use super::ops::log::Log;
use super::ops::stats::WorkerInfo;
use super::ops::supervise::{Supervisor, Wake};
use super::ops::turns::WorkerHandle;
use super::placement::{Place, places};
use super::worker::{Service, Worker, WorkerShared, poll_and_wake};
use crate::net::{Gso, Spares, WorkerSockets, max_segments};

/// The parts of a server that has not been started.
pub(super) struct Assembly<'a> {
    /// One seat per worker.
    pub(super) seats: Vec<Seat>,
    /// The spares of the notifier, for every endpoint.
    pub(super) spares: Vec<Option<Spares>>,
    pub(super) shared: WorkerShared,
    /// Maximum number of datagrams per packet.
    pub(super) max_segments: usize,
    pub(super) log: Log,
    pub(super) supervisor: &'a mut Supervisor,
}

/// The parts of one worker.
pub(super) struct Seat {
    pub(super) wake: Wake,
    pub(super) sockets: WorkerSockets,
    pub(super) info: Arc<WorkerInfo>,
    poll: Poll,
    place: Option<Place>,
}

impl<'a> Assembly<'a> {
    /// Prepares a seat for each worker, with a socket of every endpoint.
    pub(super) fn new(
        config: &ServerConfig,
        mut endpoints: Endpoints,
        clock: Clock,
        log: Log,
        supervisor: &'a mut Supervisor,
    ) -> io::Result<Self> {
        let max_segments = max_segments();
        let gso = if max_segments > 1 {
            Gso::On
        } else {
            log.warn_at_start(NO_GSO.into());
            Gso::Off
        };
        let shared = WorkerShared {
            clock,
            spin: Duration::from_micros(config.spin_us.into()),
            own_addresses: Arc::new(endpoints.own_addresses(&log)),
            log: log.clone(),
        };
        let spares = endpoints.take_spares();
        let sockets = endpoints.into_worker_sockets(gso);
        let seats = sockets.into_iter().zip(places(config, &log));
        let seats = seats.enumerate().map(|(index, (sockets, place))| {
            let (poll, wake) = poll_and_wake()?;
            Ok(Seat {
                wake,
                sockets,
                info: WorkerInfo::new(format!("worker-{index}")),
                poll,
                place,
            })
        });
        Ok(Self {
            seats: seats.collect::<io::Result<_>>()?,
            spares,
            shared,
            max_segments,
            log,
            supervisor,
        })
    }

    /// Returns the workers as other threads see them.
    pub(super) fn worker_handles(&self) -> Vec<WorkerHandle> {
        let handle = |seat: &Seat| WorkerHandle {
            info: Arc::clone(&seat.info),
            wake: Arc::clone(&seat.wake),
        };
        self.seats.iter().map(handle).collect()
    }

    /// Starts all workers, each with its service.
    pub(super) fn spawn_workers<S: Service + Send + 'static>(
        &mut self,
        services: Vec<S>,
    ) -> io::Result<()> {
        let seats = std::mem::take(&mut self.seats).into_iter();
        seats
            .zip(services)
            .try_for_each(|(seat, service)| self.spawn_worker(seat, service))
    }

    /// Starts a worker, and waits until its thread has been pinned.
    fn spawn_worker<S: Service + Send + 'static>(
        &mut self,
        seat: Seat,
        service: S,
    ) -> io::Result<()> {
        let (wake, info, log) = (seat.wake, seat.info, self.log.clone());
        let name = info.name.clone();
        let worker_info = Arc::clone(&info);
        let worker = Worker::new(seat.poll, seat.sockets, service, &self.shared, worker_info)?;
        let (pinned, is_pinned) = bounded(1);
        self.supervisor.spawn(name, wake, move |stop| {
            // The claim of the core is held for as long as the worker runs.
            if let Some(place) = &seat.place {
                place.pin(&info, &log);
            }
            let _ = pinned.send(());
            worker.run(stop)
        })?;
        // An error means that the thread has died, which the supervisor reports.
        let _ = is_pinned.recv();
        Ok(())
    }
}

/// The warning on a kernel without `UDP_SEGMENT`.
const NO_GSO: &str = "this kernel sends every datagram by itself (UDP_SEGMENT came with \
    Linux 4.18): under load, several times fewer deliveries than it could";
