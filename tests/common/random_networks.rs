//! Random networks: the form of their inputs and their blocks are chosen by a seed and a list of choices.

use super::{Builder, First, Value};

/// Starts a random network: its input or inputs, in one of several forms.
fn random_start(builder: &mut Builder, form: u64) -> Vec<Value> {
    const IMAGE: [usize; 3] = [3, 8, 8];
    let few = 2 + (form / 64) as usize % 3;
    let first = |b: &mut Builder, shape: &[usize]| {
        let x = b.start("x", shape);
        b.conv_in_space(&x, 6, 3, 1, 1)
    };
    builder.first = match form % 16 {
        6 => First::Fixed(few),
        7 => First::None,
        8 => First::Frames(few),
        9 => First::Folded(few),
        // Signals and volumes have a batch or not, too.
        12..=15 => [First::Batch, First::Batch, First::Fixed(few), First::None][(form / 16) as usize % 4],
        _ => First::Batch,
    };
    let one = match form % 16 {
        12 | 13 => first(builder, &[3, 16]),
        14 | 15 => first(builder, &[2, 4, 4, 4]),
        10 => {
            let (x, y) = (first(builder, &IMAGE), builder.start("y", &[1, 8, 8]));
            let y = builder.conv(&y, 4, 3, 1, 1);
            return vec![x, y];
        }
        11 => {
            let x = first(builder, &IMAGE);
            match few {
                2 => builder.by_vector(&x, "vector", 3),
                3 => builder.by_tokens(&x, "tokens", 4),
                _ => builder.by_scalar(&x, "factor"),
            }
        }
        _ => first(builder, &IMAGE),
    };
    vec![one]
}

/// A random network: the bytes of its file, and whether a channel of zeros stays zero in it.
pub(crate) fn random(seed: u64, moves: &[(u8, u8, u8)], flatten: bool) -> (Vec<u8>, bool) {
    let mut builder = Builder::new(seed, 8);
    // The first operator set with GroupNormalization that all tools support.
    builder.opset = 21;
    let mut open = random_start(&mut builder, seed >> 20);
    for &(choice, more, which) in moves {
        let at = usize::from(which) % open.len();
        let x = open.swap_remove(at);
        let before = open.clone();
        let made = if x.shape.len() == 3 {
            builder.step(&x, &before, choice, more)
        } else {
            builder.step_in_space(&x, &before, choice, more)
        };
        // A consumed value may be consumed again at the end, by a shortcut to the classifier.
        if which >= 200 {
            open.push(x);
        }
        open.extend(made);
    }
    // Every value is consumed, so that every node matters.
    builder.finish(&open, flatten)
}
