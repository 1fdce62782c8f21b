//! Whose rows are written next.
//!
//! Rows are written in rounds. Half of a round is for those who have the fewest rows left, so that nobody with few stands in
//! line behind those with many; the rest of it for those who came first, so that they get on whoever comes.

/// About so many rows are written in a round for which somebody with few rows may wait; of large rows fewer, which count as
/// more.
pub(super) const ROUND: usize = 5_000;

/// Calls of so many rows at most are events; those of more are loads, for which a while does not matter.
pub(super) const FEW: usize = 100;

/// The calls that have a turn in the next round, of so many rows, and how many each, by what each has `left`, in the order in
/// which they came.
pub(super) fn turns(left: &[usize], round: usize) -> Vec<(usize, usize)> {
    let mut given = vec![0; left.len()];
    let mut by_size: Vec<usize> = (0..left.len()).collect();
    // Stable: of those with equally many, the first.
    by_size.sort_by_key(|call| left[*call]);
    let mut free = round / 2;
    give(by_size.into_iter(), left, &mut given, &mut free);
    free += round - round / 2;
    give(0..left.len(), left, &mut given, &mut free);
    given.into_iter().enumerate().filter(|(_, rows)| *rows > 0).collect()
}

fn give(calls: impl Iterator<Item = usize>, left: &[usize], given: &mut [usize], free: &mut usize) {
    for call in calls {
        let rows = (left[call] - given[call]).min(*free);
        given[call] += rows;
        *free -= rows;
        if *free == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rounds it takes until each call is done.
    fn rounds(mut left: Vec<usize>) -> Vec<usize> {
        let mut ended = vec![0; left.len()];
        for round in 1.. {
            let turns = turns(&left, ROUND);
            let rows: usize = turns.iter().map(|(_, rows)| rows).sum();
            assert_eq!(rows, ROUND.min(left.iter().sum()), "no place in a round is left free");
            for (call, rows) in turns {
                left[call] -= rows;
                if left[call] == 0 {
                    ended[call] = round;
                }
            }
            if left.iter().all(|left| *left == 0) {
                return ended;
            }
        }
        ended
    }

    #[test]
    fn whoever_has_few_rows_is_done_in_the_first_round() {
        let mut calls = vec![20_000; 64];
        calls.push(1);
        let ended = rounds(calls);
        assert_eq!(ended[64], 1);
        // The others one after the other.
        assert_eq!((ended[0], ended[63]), (5, 257));
        assert!(ended[..64].is_sorted());
    }

    #[test]
    fn whoever_came_first_gets_on_whoever_comes() {
        let (mut left, mut rounds) = (20_000, 0);
        while left > 0 {
            // A thousand calls of fewer rows come in each round.
            let calls: Vec<usize> = std::iter::once(left).chain(std::iter::repeat_n(9, 1_000)).collect();
            let turns = turns(&calls, ROUND);
            assert_eq!(turns[0], (0, ROUND / 2));
            left -= turns[0].1;
            rounds += 1;
        }
        assert_eq!(rounds, 8);
    }

    #[test]
    fn nobody_has_a_turn_where_nobody_waits() {
        assert_eq!(turns(&[], ROUND), []);
        assert_eq!(turns(&[3, 4], ROUND), [(0, 3), (1, 4)]);
    }
}
