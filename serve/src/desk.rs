//! The desk before the engine: it takes requests from any thread, while the engine works on one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Instant,
};

use setaccio_base::parallel;
use setaccio_train::inference::{
    engine::{Counts, Engine},
    request::{Answer, Event, Request, Task},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Where requests are handed in.
pub struct Desk {
    sender: Mutex<mpsc::Sender<Request>>,
    counts: Arc<Mutex<Counts>>,
    /// Requests that are not done with.
    open: Arc<AtomicUsize>,
    most: usize,
    alive: Arc<AtomicBool>,
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

/// Where the engine's answers go. The place is given up with the request.
struct ToClient {
    sender: UnboundedSender<Told>,
    _place: Place,
}

impl Answer for ToClient {
    fn tell(&mut self, event: Event) -> bool {
        self.sender.send((Instant::now(), event)).is_ok()
    }

    fn wanted(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// Says that the engine has gone, however it went.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// What the engine told, and when, whenever it is read.
pub type Told = (Instant, Event);

/// Answers as they come; the engine stops working on the request when they are dropped.
pub type Answers = UnboundedReceiver<Told>;

impl Desk {
    /// Before this engine, with room for so many requests; and the engine's work, which ends when desk and requests are gone.
    pub fn open(mut engine: Engine, most: usize) -> (Self, impl FnOnce()) {
        let (sender, requests) = mpsc::channel::<Request>();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let seen = counts.clone();
        let alive = Arc::new(AtomicBool::new(true));
        let works = Alive(alive.clone());
        let work = move || {
            let _works = works;
            parallel::take_part();
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
        };
        (Self { sender: Mutex::new(sender), counts, open: Arc::default(), most, alive }, work)
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
        let answer = Box::new(ToClient { sender, _place: place });
        let request = Request { model, prompt, task, answer };
        // If the engine is gone, so are the answers, and who waits for them sees that.
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).send(request));
        Ok(answers)
    }

    /// What the engine has done, and holds now.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the engine works.
    pub fn alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Requests that there is room for.
    pub fn room(&self) -> usize {
        self.most
    }

    /// Requests that are not done with.
    pub fn open_requests(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}
