//! Connected components of a graph that no memory holds, by alternating stars: every edge of a node goes to its least neighbour, from
//! the larger ones and from the smaller ones in turn, until every component is a star around its least node. Each turn sends the
//! edges to where their nodes are, so that who makes a piece holds the edges of some nodes.
//!
//! Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: "Connected Components in MapReduce and Beyond" (2014), large-star and
//! small-star; the number of turns grows with the square of the logarithm of the nodes at most, and is two or three for groups of
//! near-duplicates.

use crate::pipeline::shuffle::{number, pair};

/// An edge: the node that it is sent to, and its neighbour.
pub type Edge = [u8; 16];

/// The edges that join the nodes of a group, from both ends: a star around the least.
pub fn of_group(nodes: &[u64], mut send: impl FnMut(u64, Edge)) {
    let Some(least) = nodes.iter().min() else { return };
    for node in nodes.iter().filter(|node| *node != least) {
        both(*node, *least, &mut send);
    }
}

fn both(one: u64, other: u64, send: &mut impl FnMut(u64, Edge)) {
    send(one, pair(one, other));
    send(other, pair(other, one));
}

/// Give each node and its neighbours, ascending, each once.
fn each_node(mut edges: Vec<Edge>, mut each: impl FnMut(u64, &[Edge])) {
    edges.sort_unstable();
    edges.dedup();
    for of in edges.chunk_by(|a, b| a[..8] == b[..8]) {
        each(number(&of[0], 0), of);
    }
}

/// Join the larger neighbours of each node to the least of its neighbours and itself, from their end. Says how many nodes were joined
/// to another than their own neighbour.
pub fn large(edges: Vec<Edge>, mut send: impl FnMut(u64, Edge)) -> u64 {
    let mut changed = 0;
    each_node(edges, |node, neighbours| {
        let least = node.min(number(&neighbours[0], 8));
        let larger = neighbours.iter().map(|edge| number(edge, 8)).filter(|neighbour| *neighbour > node);
        for neighbour in larger {
            changed += u64::from(least != node);
            send(neighbour, pair(neighbour, least));
        }
    });
    changed
}

/// Join each node and its smaller neighbours, which are all that [`large`] sends, to the least of these, from both ends. Says how many
/// were joined to another than before.
pub fn small(edges: Vec<Edge>, mut send: impl FnMut(u64, Edge)) -> u64 {
    let mut changed = 0;
    each_node(edges, |node, neighbours| {
        let least = number(&neighbours[0], 8);
        both(node, least, &mut send);
        for neighbour in &neighbours[1..] {
            changed += 1;
            both(number(neighbour, 8), least, &mut send);
        }
    });
    changed
}

/// The least node of the component of each node, once every component is a star.
pub fn centres(edges: Vec<Edge>, mut each: impl FnMut(u64, u64)) {
    each_node(edges, |node, neighbours| each(node, node.min(number(&neighbours[0], 8))));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Turns until nothing changes, over three pieces.
    fn components(groups: &[Vec<u64>]) -> (BTreeMap<u64, u64>, usize) {
        let mut sent: [Vec<Edge>; 3] = Default::default();
        for group in groups {
            of_group(group, |to, edge| sent[(to % 3) as usize].push(edge));
        }
        for turn in 1.. {
            let (mut next, mut changed): ([Vec<Edge>; 3], u64) = Default::default();
            for is_large in [true, false] {
                next = Default::default();
                for edges in &mut sent {
                    let edges = std::mem::take(edges);
                    let send = |to: u64, edge| next[(to % 3) as usize].push(edge);
                    changed += if is_large { large(edges, send) } else { small(edges, send) };
                }
                sent.clone_from(&next);
            }
            if changed == 0 {
                let mut found = BTreeMap::new();
                for edges in next {
                    centres(edges, |node, centre| assert_eq!(found.insert(node, centre), None));
                }
                return (found, turn);
            }
        }
        unreachable!("stars are found at last")
    }

    /// By looking at all again until nothing changes.
    fn expected(groups: &[Vec<u64>]) -> BTreeMap<u64, u64> {
        let mut of: BTreeMap<u64, u64> =
            groups.iter().filter(|group| group.len() > 1).flatten().map(|node| (*node, *node)).collect();
        loop {
            let before = of.clone();
            for group in groups.iter().filter(|group| group.len() > 1) {
                let least = group.iter().map(|node| of[node]).min().unwrap_or(0);
                of.extend(group.iter().map(|node| (*node, least)));
            }
            if of == before {
                return of;
            }
        }
    }

    #[test]
    fn stars_are_the_components() {
        let drawn = |seed: u64| {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            move || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            }
        };
        for seed in 1..40 {
            let mut next = drawn(seed);
            let (nodes, many) = (2 + next() % 200, next() % 150);
            let mut group = |_| (0..=next() % 4).map(|_| next() % nodes).collect::<Vec<u64>>();
            let mut groups: Vec<Vec<u64>> = (0..many).map(&mut group).collect();
            for group in &mut groups {
                group.sort_unstable();
                group.dedup();
            }
            assert_eq!(components(&groups).0, expected(&groups), "{seed}");
        }
        // A path in a bad order, a cycle, two cliques that share a node, and one node alone.
        let path: Vec<Vec<u64>> = (0..500).map(|i| vec![i * 389 % 501, (i + 1) * 389 % 501]).collect();
        let (found, turns) = components(&path);
        assert_eq!((found.len(), found.values().max(), turns <= 12), (501, Some(&0), true), "{turns} turns");
        let others = [vec![5, 6], vec![6, 7], vec![7, 5], vec![10, 11, 12], vec![12, 20, 21], vec![9]];
        assert_eq!(components(&others).0, expected(&others));
        assert_eq!(components(&[]).0, BTreeMap::new());
    }
}
