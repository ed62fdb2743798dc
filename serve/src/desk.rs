//! The desk before the engine: it takes requests from any thread, while the engine works on one of its own.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use setaccio_train::inference::{
    engine::{Counts, Engine},
    request::{Event, Request, Task},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Where requests are handed in.
pub struct Desk {
    sender: Mutex<mpsc::Sender<Request>>,
    counts: Arc<Mutex<Counts>>,
    /// Requests that are not done with.
    open: Arc<AtomicUsize>,
    most: usize,
}

/// So many requests wait that no more are taken.
#[derive(Debug)]
pub struct Full;

/// A place in the queue, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers as they come; the engine stops working on the request when they are dropped.
pub type Answers = UnboundedReceiver<Event>;

impl Desk {
    /// Before this engine, with room for so many requests.
    pub fn open(mut engine: Engine, most: usize) -> Self {
        let (sender, requests) = mpsc::channel::<Request>();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let seen = counts.clone();
        thread::spawn(move || {
            loop {
                if engine.idle() {
                    let Ok(request) = requests.recv() else { return };
                    engine.submit(request);
                }
                while let Ok(request) = requests.try_recv() {
                    engine.submit(request);
                }
                // Who asked is told of a fault.
                drop(engine.step());
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = engine.counts();
            }
        });
        Self { sender: Mutex::new(sender), counts, open: Arc::default(), most }
    }

    /// Hand in a request.
    ///
    /// # Errors
    /// Too many wait.
    pub fn ask(&self, model: usize, prompt: Vec<u32>, task: Task) -> Result<Answers, Full> {
        let taken = |open: usize| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken).map_err(|_| Full)?;
        let place = Place(self.open.clone());
        let (sender, answers) = unbounded_channel();
        let answer = Box::new(move |event| {
            // The place is given up with the request.
            let _ = &place;
            sender.send(event).is_ok()
        });
        let request = Request { model, prompt, task, answer };
        // If the engine is gone, so are the answers, and who waits for them sees that.
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).send(request));
        Ok(answers)
    }

    /// What the engine has done, and holds now.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that are not done with.
    pub fn open_requests(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}
