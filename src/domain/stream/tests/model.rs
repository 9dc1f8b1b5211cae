//! Random runs of the two machines against streams as plain as possible.

use proptest::prelude::*;

use super::*;

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Create { ends: (u8, u8), kind: u8, forced: bool, between: Vec<u8>, origin: usize },
    Close(usize),
    Pass(u64),
    Publish,
    Resync(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let between = prop::collection::hash_set(5..=7u8, 0..=2).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let create = ((1..=3u8, 1..=3u8), 0..3u8, any::<bool>(), between, any::<usize>());
    let create = create.prop_filter("of two clients", |((a, b), ..)| a != b);
    prop_oneof![
        6 => create.prop_map(|(ends, kind, forced, between, origin)| {
            Step::Create { ends, kind, forced, between, origin }
        }),
        5 => any::<usize>().prop_map(Step::Close),
        1 => (0..40_000u64).prop_map(Step::Pass),
        3 => Just(Step::Publish),
        2 => (1..=7u8).prop_map(Step::Resync),
    ]
}

/// A contract as the model knows it: its nodes, the stream it was given, when.
#[derive(Clone, Debug)]
struct Known {
    contract: u64,
    stream: u64,
    nodes: Vec<u8>,
    made: Timestamp,
}

/// Streams as plainly as possible: a list of contracts ever made with a stream, and which of them are still open.
#[derive(Default)]
struct Naive {
    ever: Vec<Known>,
    open: BTreeSet<u64>,
    /// Streams that have died.
    dead: BTreeSet<u64>,
}

impl Naive {
    fn bury(&mut self, now: Timestamp) {
        for known in &self.ever {
            let of_stream = || self.ever.iter().filter(|other| other.stream == known.stream);
            let newest = of_stream().map(|other| other.made).max().unwrap();
            if newest + LIFETIME <= now || !of_stream().any(|other| self.open.contains(&other.contract)) {
                self.dead.insert(known.stream);
            }
        }
    }

    /// Live streams with their nodes in canonical order.
    fn live(&self) -> BTreeMap<u64, Vec<u8>> {
        let live = self.ever.iter().filter(|known| !self.dead.contains(&known.stream));
        live.map(|known| (known.stream, known.nodes.clone())).collect()
    }

    /// The stream that the rule names, 0 for none, `None` for a new one.
    fn rule(&self, ends: (u8, u8), kind: u8, forced: bool, nodes: &[u8], origin: u64) -> Option<u64> {
        let live = self.live();
        let is_pair = |other: &[u8]| (other[0], *other.last().unwrap()) == (ends.0.min(ends.1), ends.0.max(ends.1));
        let of_pair = live.iter().filter(|(_, other)| is_pair(other));
        let any = of_pair.min_by_key(|(stream, other)| (other.len(), **stream)).map(|(stream, _)| *stream);
        let exact = live.iter().find(|(_, other)| *other == nodes).map(|(stream, _)| *stream);
        match (kind, nodes.len() > 2) {
            (0, false) => any.or((!forced).then_some(0)),
            (1, false) if !forced => Some(0),
            (0 | 1, _) => exact,
            _ if live.contains_key(&origin) => Some(origin),
            _ => Some(any.unwrap_or(0)),
        }
    }

    fn hops(&self, client: u8) -> Vec<(StreamId, Hop)> {
        let mut hops = Vec::new();
        for (stream, nodes) in self.live() {
            if let Some(at) = nodes.iter().position(|node| *node == client) {
                let near = |at: Option<usize>| at.and_then(|at| nodes.get(at)).map(|node| id(*node));
                hops.push((number(stream), Hop { previous: near(at.checked_sub(1)), next: near(Some(at + 1)) }));
            }
        }
        hops
    }
}

fn canonical(ends: (u8, u8), between: &[u8]) -> Vec<u8> {
    let mut nodes = vec![ends.0];
    nodes.extend(between);
    nodes.push(ends.1);
    if ends.0 > ends.1 {
        nodes.reverse();
    }
    nodes
}

/// What a client believes, from the messages alone.
type View = BTreeMap<u64, (u8, u8)>;

fn hear(view: &mut View, message: Said) {
    match message {
        Open(stream, previous, next) => drop(view.insert(stream, (previous, next))),
        Close(stream) => drop(view.remove(&stream)),
        Reset(hops) => *view = hops.into_iter().map(|(stream, previous, next)| (stream, (previous, next))).collect(),
    }
}

proptest! {
    #[test]
    fn streams_and_hops_agree_with_the_naive_model(steps in prop::collection::vec(step(), 1..60)) {
        let (mut script, mut naive) = (Script::new(), Naive::default());
        let mut views: BTreeMap<u8, View> = BTreeMap::new();
        let mut made = 0;
        for step in steps {
            match step {
                Step::Create { ends, kind, forced, between, origin } => {
                    prop_assert!(between.len() <= MAX_INTERMEDIARIES);
                    let origin = naive.ever.get(origin.checked_rem(naive.ever.len()).unwrap_or(0));
                    let of_pair = |known: &&Known| known.nodes[0] == ends.0.min(ends.1) && known.nodes.last() == Some(&ends.0.max(ends.1));
                    let origin = origin.filter(of_pair).map_or(0, |known| known.stream);
                    let nodes = canonical(ends, &between);
                    let expected = naive.rule(ends, kind, forced, &nodes, origin);
                    let kind = match kind {
                        0 => Network,
                        1 => Public,
                        _ => Companion((origin > 0).then(|| number(origin))),
                    };
                    made += 1;
                    let entered = script.create(made, ends, kind, wish(forced, &between));
                    prop_assert_eq!(entered, expected.unwrap_or(script.streams));
                    if entered > 0 {
                        let key = &script.contracts[&made].key;
                        prop_assert_eq!(key.ends(), pair(id(ends.0), id(ends.1)));
                        let nodes = key.nodes().iter().map(|node| node.as_bytes()[0]).collect();
                        naive.ever.push(Known { contract: made, stream: entered, nodes, made: script.now });
                        naive.open.insert(made);
                    }
                }
                Step::Close(at) => {
                    if let Some(known) = naive.ever.get(at.checked_rem(naive.ever.len()).unwrap_or(0)) {
                        script.close(known.contract);
                        naive.open.remove(&known.contract);
                    }
                }
                Step::Pass(secs) => script.wait(Duration::from_secs(secs)),
                Step::Publish => script.publish(),
                Step::Resync(client) => script.hops.handle_resync(id(client)),
            }
            naive.bury(script.now);
            let live: BTreeMap<u64, Vec<u8>> = script.members.iter().map(|(stream, key, contracts)| {
                assert!(!contracts.is_empty(), "no stream without contracts");
                (stream_number(stream.as_bytes()), key.nodes().iter().map(|node| node.as_bytes()[0]).collect())
            }).collect();
            prop_assert_eq!(live, naive.live());
        }
        script.publish();
        for client in 1..=7 {
            prop_assert_eq!(script.hops.of(id(client)), naive.hops(client), "hops of {}", client);
        }
        prop_assert_eq!(script.hops.stream_count(), naive.live().len() as u64);
        while let Some((client, pushes)) = script.hops.pop_output() {
            let view = views.entry(client.as_bytes()[0]).or_default();
            pushes.iter().map(said).for_each(|message| hear(view, message));
        }
        for client in 1..=7 {
            let believed: Vec<u64> = views.get(&client).into_iter().flat_map(|view| view.keys().copied()).collect();
            let known: Vec<u64> = naive.hops(client).iter().map(|(stream, _)| stream_number(stream.as_bytes())).collect();
            prop_assert_eq!(believed, known, "what client {} was told", client);
        }
        for contract in 1..=made {
            script.close(contract);
        }
        script.publish();
        prop_assert!(script.hops.clients().is_empty(), "nothing is kept of streams that are gone");
    }
}
