//! The shell around the node: whoever finds the node free steps it for everyone who waits.
//!
//! Inputs go into an inbox; the thread that gets the node's lock takes all of them, steps the node for each, and moves
//! the effects into the outgoing queue before it lets the lock go. Then it carries effects out, if nobody else is at
//! it. So there is no hop at light load, batches under load, and effects are carried out in the order in which the
//! node gave them, whichever thread does it.
//!
//! Inside the node's lock nothing waits, no system call is made, and the queues keep their memory. Not here: what an
//! effect means (`rim.rs`). Invariant: an input that was submitted is stepped, and its effects carried out, by the
//! submitter or by a thread that held the lock in question after the submission.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use strandline_node::io::{Effect, Input, Now};

use crate::clock::Clock;

/// What is stepped: the node, or in tests something simpler.
pub(crate) trait Core: Send {
    /// Takes one input.
    fn step(&mut self, now: Now, input: Input, outbox: &mut Vec<Effect>);

    /// Ends a burst of inputs.
    fn settle(&mut self, now: Now, outbox: &mut Vec<Effect>);
}

/// What carries effects out, in their order, without waiting.
pub(crate) trait Executors: Send + Sync {
    fn carry_out(&self, effects: &mut Vec<Effect>);
}

/// Where inputs go, for rooms that need not know more of the shell.
pub(crate) trait Submit: Send + Sync {
    /// Hands inputs to the node, in their order; `inputs` is empty afterwards.
    fn submit(&self, inputs: &mut Vec<Input>);
}

pub(crate) struct Shell<C, E> {
    inbox: Mutex<Vec<Input>>,
    stepping: Mutex<Stepping<C>>,
    outgoing: Mutex<Vec<Effect>>,
    /// Effects that are being carried out; its lock says by whom.
    delivering: Mutex<Vec<Effect>>,
    clock: Clock,
    executors: E,
}

struct Stepping<C> {
    core: C,
    inputs: Vec<Input>,
    outbox: Vec<Effect>,
}

impl<C: Core, E: Executors> Shell<C, E> {
    /// A shell around a core whose first step was taken: `first` is what it wanted, carried out with the next input's.
    pub(crate) fn new(core: C, first: Vec<Effect>, clock: Clock, executors: E) -> Self {
        Self {
            inbox: Mutex::default(),
            stepping: Mutex::new(Stepping { core, inputs: Vec::new(), outbox: Vec::new() }),
            outgoing: Mutex::new(first),
            delivering: Mutex::default(),
            clock,
            executors,
        }
    }

    pub(crate) fn executors(&self) -> &E {
        &self.executors
    }

    /// Looks at the node, between two steps.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&C) -> T) -> T {
        let stepping = self.stepping.lock().unwrap_or_else(|_| node_panicked());
        let seen = look(&stepping.core);
        drop(stepping);
        // Inputs that came meanwhile found the node taken.
        self.step();
        self.deliver();
        seen
    }

    fn step(&self) {
        // Asked again after every release: who came in between found the node taken and left.
        while !self.inbox().is_empty() {
            let mut stepping = match self.stepping.try_lock() {
                Ok(stepping) => stepping,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(_)) => node_panicked(),
            };
            std::mem::swap(&mut *self.inbox(), &mut stepping.inputs);
            stepping.step_all(self.clock.now());
            self.outgoing().append(&mut stepping.outbox);
        }
    }

    fn deliver(&self) {
        while !self.outgoing().is_empty() {
            let mut effects = match self.delivering.try_lock() {
                Ok(effects) => effects,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            };
            std::mem::swap(&mut *self.outgoing(), &mut *effects);
            self.executors.carry_out(&mut effects);
            effects.clear();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<Input>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Vec<Effect>> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Core, E: Executors> Submit for Shell<C, E> {
    fn submit(&self, inputs: &mut Vec<Input>) {
        self.inbox().append(inputs);
        self.step();
        self.deliver();
    }
}

impl<C: Core> Stepping<C> {
    fn step_all(&mut self, now: Now) {
        for input in self.inputs.drain(..) {
            self.core.step(now, input, &mut self.outbox);
        }
        self.core.settle(now, &mut self.outbox);
    }
}

/// A decision went wrong half-way: nothing that this process would still say can be trusted.
fn node_panicked() -> ! {
    tracing::error!("the node panicked; the process ends");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use strandline_node::io::ConnectionId;

    use super::*;

    /// Counts inputs and wishes to be woken at every count.
    #[derive(Default)]
    struct Counter {
        inputs: u64,
    }

    impl Core for Counter {
        fn step(&mut self, _: Now, input: Input, outbox: &mut Vec<Effect>) {
            assert!(matches!(input, Input::Disconnected { .. }));
            self.inputs += 1;
            outbox.push(Effect::WakeAt { monotonic_ms: self.inputs });
        }

        fn settle(&mut self, _: Now, _: &mut Vec<Effect>) {}
    }

    /// Remembers the order in which effects came.
    #[derive(Default)]
    struct Recorder {
        seen: Mutex<Vec<u64>>,
    }

    impl Executors for Recorder {
        fn carry_out(&self, effects: &mut Vec<Effect>) {
            let mut seen = self.seen.lock().unwrap();
            for effect in effects.drain(..) {
                let Effect::WakeAt { monotonic_ms } = effect else { panic!("only the counter steps here") };
                seen.push(monotonic_ms);
            }
        }
    }

    #[test]
    fn effects_of_many_threads_are_carried_out_once_and_in_order() {
        const THREADS: u64 = 8;
        const BURSTS: u64 = 2000;
        let shell = Arc::new(Shell::new(Counter::default(), Vec::new(), Clock::start(), Recorder::default()));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let shell = Arc::clone(&shell);
                thread::spawn(move || {
                    let input = || Input::Disconnected { connection: ConnectionId(thread) };
                    for burst in 0..BURSTS {
                        shell.submit(&mut (0..1 + burst % 3).map(|_| input()).collect());
                        if burst % 64 == 0 {
                            shell.look(|counter| assert!(counter.inputs > 0));
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let total = THREADS * (0..BURSTS).map(|burst| 1 + burst % 3).sum::<u64>();
        assert_eq!(*shell.executors().seen.lock().unwrap(), (1..=total).collect::<Vec<_>>());
    }
}
