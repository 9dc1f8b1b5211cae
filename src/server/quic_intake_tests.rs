use tokio::task::coop;

use super::*;

/// Bytes of a packet.
const PACKET: usize = 1000;

/// An endpoint's reading task that takes one packet a poll off a socket that has so many.
#[derive(Default)]
struct Script {
    waiting: AtomicUsize,
    polls: AtomicUsize,
    is_closed: AtomicBool,
}

impl Script {
    fn waits(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn arrive(&self, packets: usize) {
        self.waiting.fetch_add(packets, Ordering::Relaxed);
    }
}

struct Scene {
    intake: Arc<Intake>,
    script: Arc<Script>,
    /// Counts how often the reading task is woken.
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Scene {
    fn new(limit: usize) -> Self {
        let (intake, script) = (Arc::new(Intake::new(limit)), Arc::<Script>::default());
        let (socket, packets) = (Arc::clone(&intake), Arc::clone(&script));
        intake.begin(Box::pin(poll_fn(move |_| {
            packets.polls.fetch_add(1, Ordering::Relaxed);
            if packets.is_closed.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            let packet = RecvMeta { len: PACKET, ..RecvMeta::default() };
            let read = match packets.waits() {
                0 => Poll::Pending,
                waiting => {
                    packets.waiting.store(waiting - 1, Ordering::Relaxed);
                    Poll::Ready(Ok(1))
                }
            };
            socket.note(&read, &[packet]);
            Poll::Pending
        })));
        Self { intake, script, woken: Arc::default() }
    }

    /// The turn of the reading task.
    fn own_turn(&self) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.intake.poll_own(&mut Context::from_waker(&waker))
    }

    /// Turns of a connection; how often it was polled itself.
    fn connection_turns(&self, count: u32) -> usize {
        let polls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&polls);
        let task = Box::pin(poll_fn(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        }));
        let mut connection = Connection { task, intake: Arc::clone(&self.intake) };
        for _ in 0..count {
            assert!(Pin::new(&mut connection).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        polls.load(Ordering::Relaxed)
    }
}

#[test]
fn a_look_goes_on_until_the_socket_is_empty_and_is_bounded() {
    let scene = Scene::new(usize::MAX);
    assert_eq!(scene.own_turn(), Poll::Pending);
    for (arrived, polls, left) in [(3, 4, 0), (2 * POLLS, POLLS, POLLS)] {
        let before = scene.script.polls.load(Ordering::Relaxed);
        scene.script.arrive(arrived);
        scene.connection_turns(TURNS_BETWEEN_LOOKS);
        assert_eq!((scene.script.waits(), scene.script.polls.load(Ordering::Relaxed) - before), (left, polls));
    }
}

#[test]
fn the_reading_task_itself_reads_once_a_turn() {
    let scene = Scene::new(usize::MAX);
    scene.script.arrive(3);
    assert_eq!(scene.own_turn(), Poll::Pending);
    assert_eq!((scene.script.waits(), scene.script.polls.load(Ordering::Relaxed)), (2, 1));
}

#[test]
fn connections_let_it_read_every_so_often_before_they_run() {
    let scene = Scene::new(usize::MAX);
    assert_eq!(scene.connection_turns(1), 1, "before the reading task has begun");
    assert_eq!(scene.own_turn(), Poll::Pending);
    scene.script.arrive(2);
    assert_eq!(scene.connection_turns(TURNS_BETWEEN_LOOKS - 1), TURNS_BETWEEN_LOOKS as usize - 1);
    assert_eq!(scene.script.waits(), 2);
    assert_eq!(scene.connection_turns(1), 1);
    assert_eq!(scene.script.waits(), 0);
    scene.script.arrive(1);
    scene.connection_turns(TURNS_BETWEEN_LOOKS);
    assert_eq!(scene.script.waits(), 0);
}

#[test]
fn what_connections_take_ahead_is_bounded_until_the_reading_task_had_its_turn() {
    let scene = Scene::new(5 * PACKET);
    assert_eq!(scene.own_turn(), Poll::Pending);
    for (arrived, left) in [(4, 0), (1, 0), (1, 1), (1, 2)] {
        scene.script.arrive(arrived);
        scene.connection_turns(TURNS_BETWEEN_LOOKS);
        assert_eq!(scene.script.waits(), left);
    }
    assert_eq!(scene.own_turn(), Poll::Pending);
    assert_eq!(scene.script.waits(), 1);
    // That one counts as well.
    scene.script.arrive(3);
    scene.connection_turns(TURNS_BETWEEN_LOOKS);
    scene.script.arrive(1);
    scene.connection_turns(TURNS_BETWEEN_LOOKS);
    assert_eq!(scene.script.waits(), 1);
}

#[test]
fn its_end_in_the_turn_of_a_connection_ends_its_own_task() {
    let scene = Scene::new(usize::MAX);
    assert_eq!(scene.own_turn(), Poll::Pending);
    scene.script.is_closed.store(true, Ordering::Relaxed);
    assert_eq!(scene.connection_turns(TURNS_BETWEEN_LOOKS), TURNS_BETWEEN_LOOKS as usize);
    assert_eq!(scene.woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&scene.script), 1, "what ended is gone");
    assert_eq!(scene.own_turn(), Poll::Ready(()));
}

#[test]
fn a_connection_does_not_wait_for_another_thread_that_reads() {
    let scene = Scene::new(usize::MAX);
    assert_eq!(scene.own_turn(), Poll::Pending);
    scene.script.arrive(1);
    let reading = scene.intake.reader.get().unwrap().lock();
    assert_eq!(scene.connection_turns(TURNS_BETWEEN_LOOKS), TURNS_BETWEEN_LOOKS as usize);
    drop(reading);
    assert_eq!(scene.script.waits(), 1);
}

/// Where a task may do only so much in one turn, as in tokio.
#[tokio::test]
async fn reading_does_not_use_up_the_turn_of_a_connection() {
    let intake = Arc::new(Intake::new(usize::MAX));
    intake.begin(Box::pin(poll_fn(|context| {
        for _ in 0..100 {
            ready!(coop::poll_proceed(context)).made_progress();
        }
        Poll::Pending
    })));
    assert_eq!(intake.poll_own(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    let task = Box::pin(poll_fn(|_| match coop::has_budget_remaining() {
        true => Poll::Ready(()),
        false => panic!("no turn is left"),
    }));
    tokio::spawn(Connection { task, intake }).await.unwrap();
}

/// With real sockets: the reading task of an endpoint that nobody else wakes ends with its endpoint.
#[tokio::test]
async fn an_endpoint_ends_and_frees_its_socket() {
    let intake = Arc::new(Intake::new(1 << 20));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let runtime = Arc::new(IntakeRuntime(Arc::clone(&intake)));
    let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime).unwrap();
    assert_eq!(endpoint.local_addr().unwrap(), address);
    tokio::task::yield_now().await;
    drop(endpoint);
    // This, the task's and the socket's go.
    while Arc::strong_count(&intake) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(std::net::UdpSocket::bind(address).is_ok());
}
