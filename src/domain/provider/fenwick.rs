//! Sums over a list of weights, several lanes at once: changing one weight and finding the weight that a number falls
//! on both take O(log n).

/// A Fenwick tree: node `i`, counted from 1, sums as many weights up to `i` as its lowest set bit says.
#[derive(Debug)]
pub struct Fenwick<const LANES: usize> {
    nodes: Vec<[u64; LANES]>,
    total: [u64; LANES],
}

impl<const LANES: usize> Default for Fenwick<LANES> {
    fn default() -> Self {
        Self { nodes: Vec::new(), total: [0; LANES] }
    }
}

impl<const LANES: usize> Fenwick<LANES> {
    /// All weights together.
    pub fn total(&self) -> &[u64; LANES] {
        &self.total
    }

    /// Appends a weight of zero.
    pub fn push(&mut self) {
        let node = self.nodes.len() + 1;
        let mut sums = [0u64; LANES];
        // The nodes below it that it covers.
        let mut below = node - 1;
        while below > node - lowest_bit(node) {
            for (sum, part) in sums.iter_mut().zip(&self.nodes[below - 1]) {
                *sum += part;
            }
            below -= lowest_bit(below);
        }
        self.nodes.push(sums);
    }

    /// Changes the weight at `at` from what it is to something else.
    pub fn replace(&mut self, at: usize, before: &[u64; LANES], after: &[u64; LANES]) {
        if before == after {
            return;
        }
        // Differences wrap, and wrap back when they are added.
        let difference: [u64; LANES] = std::array::from_fn(|lane| after[lane].wrapping_sub(before[lane]));
        let add = |sums: &mut [u64; LANES]| {
            for (sum, difference) in sums.iter_mut().zip(&difference) {
                *sum = sum.wrapping_add(*difference);
            }
        };
        let mut node = at + 1;
        while let Some(sums) = self.nodes.get_mut(node - 1) {
            add(sums);
            node += lowest_bit(node);
        }
        add(&mut self.total);
    }

    /// The place whose weight `number` falls on when the weights are laid end to end; `number` is below the total.
    pub fn find(&self, lane: usize, mut number: u64) -> usize {
        let mut at = 0;
        let mut step = (self.nodes.len() + 1).next_power_of_two() / 2;
        while step > 0 {
            if let Some(sums) = self.nodes.get(at + step - 1)
                && sums[lane] <= number
            {
                at += step;
                number -= sums[lane];
            }
            step /= 2;
        }
        at.min(self.nodes.len().saturating_sub(1))
    }
}

fn lowest_bit(node: usize) -> usize {
    node & node.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_list(steps in proptest::collection::vec((any::<u16>(), 0u64..5, 0u64..5), 1..200)) {
            let (mut tree, mut list) = (Fenwick::<2>::default(), Vec::<[u64; 2]>::new());
            for (at, first, second) in steps {
                if at % 3 == 0 || list.is_empty() {
                    tree.push();
                    list.push([0, 0]);
                }
                let at = usize::from(at) % list.len();
                tree.replace(at, &list[at], &[first, second]);
                list[at] = [first, second];
            }
            for lane in 0..2 {
                let expected: Vec<usize> =
                    list.iter().enumerate().flat_map(|(at, weight)| vec![at; weight[lane] as usize]).collect();
                prop_assert_eq!(tree.total()[lane], expected.len() as u64);
                let found: Vec<usize> = (0..expected.len() as u64).map(|number| tree.find(lane, number)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
