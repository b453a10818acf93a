//! The examples in the help of every verb.

/// A verb with its examples. Long ones go on in the next line after a backslash.
struct Examples {
    verb: &'static str,
    lines: &'static str,
}

const EXAMPLES: [Examples; 18] = [
    Examples {
        verb: "devices",
        lines: "
secateur devices
secateur devices --json
secateur devices --device cpu",
    },
    Examples {
        verb: "inspect",
        lines: "
secateur inspect net.onnx
secateur inspect net.onnx --size x=1x3x224x224
secateur inspect net.onnx --json > net.json",
    },
    Examples {
        verb: "run",
        lines: "
secateur run net.onnx --input x=image.npy --output-dir out
secateur run net.onnx --input x=x.npy --input scale=0.5 --output-dir out
secateur run net.onnx --input x=x.npy --tap relu1 --output-dir out",
    },
    Examples {
        verb: "check",
        lines: "
secateur check net.onnx
secateur check net.onnx --data images/ --preset imagenet --images 4
secateur check net.onnx --device 0 --precision f16",
    },
    Examples {
        verb: "profile",
        lines: "
secateur profile net.onnx --data images/ --preset imagenet -o net.profile
secateur profile net.onnx --data images/ --preset imagenet --shard 1/4 \\
  -o part1.profile
secateur profile net.onnx --data images/ --preset imagenet --confidence 0.95 \\
  -o net.profile",
    },
    Examples {
        verb: "merge",
        lines: "
secateur merge part1.profile part2.profile -o net.profile
secateur merge part1.profile part2.profile part3.profile -o net.profile
secateur merge part1.profile part2.profile -o - > net.profile",
    },
    Examples {
        verb: "show",
        lines: "
secateur show net.profile
secateur show net.profile --csv channels.csv
secateur show net.profile --json",
    },
    Examples {
        verb: "plan",
        lines: "
secateur plan net.onnx --profile net.profile --keep-macs 0.7 -o cut.json
secateur plan net.onnx --criterion l1 --keep-params 0.5 -o cut.json
secateur plan --help-criteria",
    },
    Examples {
        verb: "prune",
        lines: "
secateur prune net.onnx --data images/ --preset imagenet --keep-macs 0.7 \\
  -o small.onnx --report page.html
secateur prune net.onnx --data images/ --preset imagenet --max-drop 1 \\
  -o small.onnx
secateur prune net.onnx --cut cut.json --repair none -o small.onnx",
    },
    Examples {
        verb: "compare-criteria",
        lines: "
secateur compare-criteria net.onnx --data images/ --preset imagenet
secateur compare-criteria net.onnx --data images/ --preset imagenet \\
  --criteria l1,fpgm,apoz
secateur compare-criteria net.onnx --data images/ --preset imagenet \\
  --repair none,full --keep-macs 0.8,0.6,0.4 --plot curves.svg",
    },
    Examples {
        verb: "eval",
        lines: "
secateur eval net.onnx --data images/ --preset imagenet
secateur eval small.onnx --against net.onnx --data images/ --preset imagenet
secateur eval net.onnx --data images/ --try-presets",
    },
    Examples {
        verb: "bench",
        lines: "
secateur bench net.onnx small.onnx
secateur bench net.onnx small.onnx --batch 16 --seconds 20
secateur bench net.onnx --layers --device cpu",
    },
    Examples {
        verb: "report",
        lines: "
secateur report net.onnx small.onnx --cut cut.json -o page.html
secateur report net.onnx small.onnx --cut cut.json --data images/ \\
  --preset imagenet --masked masked.onnx -o page.html
secateur report net.onnx small-0.8.onnx small-0.6.onnx --data images/ \\
  --preset imagenet -o cuts.html",
    },
    Examples {
        verb: "demo",
        lines: "
secateur demo
secateur demo -o small.onnx --report page.html
secateur demo --write-images images.npz --count 1000",
    },
    Examples {
        verb: "completions",
        lines: "
secateur completions bash \\
  > ~/.local/share/bash-completion/completions/secateur
secateur completions zsh > _secateur
secateur completions fish > ~/.config/fish/completions/secateur.fish",
    },
    Examples {
        verb: "finetune",
        lines: "
secateur finetune small.onnx --teacher net.onnx --data images/ \\
  --preset imagenet --epochs 8 -o tuned.onnx
secateur finetune small.onnx --teacher net.onnx --cut cut.json \\
  --data images/ --preset imagenet --epochs 30 --features stages \\
  --checkpoint small.ckpt --report page.html -o tuned.onnx
secateur finetune lenet.onnx --data mnist/ --preset mnist --epochs 5 \\
  -o trained.onnx",
    },
    Examples {
        verb: "quantize",
        lines: "
secateur quantize net.onnx --data images/ --preset imagenet \\
  --report page.html -o int8.onnx
secateur quantize net.onnx --palette 4bit --data images/ \\
  --preset imagenet -o shared.onnx
secateur quantize net.onnx --palette 6bit --data images/ \\
  --preset imagenet --test photos/ --json -o shared.onnx",
    },
    Examples {
        verb: "man",
        lines: "
secateur man > secateur.1
secateur man prune > secateur-prune.1
secateur man prune | man -l -",
    },
];

/// Returns the section of help with a verb's examples, empty for a verb without.
pub(super) fn of(verb: &str) -> String {
    let Some(found) = EXAMPLES.iter().find(|examples| examples.verb == verb) else { return String::new() };
    let lines = found.lines.trim_start().lines().map(|line| format!("\n  {line}"));
    format!("Examples:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_three_examples_that_parse() {
        let command = super::super::command();
        for verb in command.get_subcommands().map(clap::Command::get_name).filter(|verb| *verb != "help") {
            let text = of(verb).replace("\\\n", "");
            let lines: Vec<&str> = text.lines().skip(1).collect();
            assert_eq!(lines.len(), 3, "{verb}");
            for line in lines {
                // Redirections and pipes belong to the shell.
                let words: Vec<&str> =
                    line.split_whitespace().take_while(|word| !["<", ">", "|"].contains(word)).collect();
                assert_eq!(words[1], verb);
                let parsed =
                    super::super::parse(command.clone(), words.iter().map(Into::into).collect(), None);
                assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
            }
        }
    }
}
