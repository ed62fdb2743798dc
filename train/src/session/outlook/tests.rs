use std::path::Path;

use serde_json::json;

use super::*;

fn llama_8b() -> Config {
    let json = json!({
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192, "tie_word_embeddings": false,
    });
    Config::from_json(Path::new("llama3-8b"), json.as_object().unwrap()).unwrap()
}

fn outlook(recipe: &str, bytes: usize) -> Outlook {
    let recipe = format!("name = 'x'\n[model]\npath = 'x'\n{recipe}\n[data]\ntrain = ['x']\nmax_length = 2048\n");
    Outlook {
        recipe: toml::from_str(&recipe).unwrap(),
        config: llama_8b(),
        stored: DType::BF16,
        place: Place::device_memory(bytes),
        lengths: Lengths::Longest,
    }
}

/// The recipe of an outlook with what is advised in it, planned from the start.
fn advised(outlook: &Outlook, advice: &Advice) -> Outlook {
    let mut table = toml::Table::try_from(&outlook.recipe).unwrap();
    for set in &advice.sets {
        setaccio_base::overlay::apply_set(&mut table, set).unwrap();
    }
    Outlook { recipe: table.try_into().unwrap(), ..outlook.clone() }
}

const GIB_BYTES: usize = 1 << 30;

#[test]
fn what_is_advised_fits_and_nothing_less_does() {
    let cases = [
        ("[train]\nbatch = 16\nrecompute = 'none'", 80, vec!["train.recompute=auto"]),
        ("[train]\nbatch = 64", 16, vec!["model.quantization=nf4", "train.batch=4", "train.accumulation=16"]),
        ("quantization = 'nf4'\n[train]\nbatch = 8", 12, vec!["train.batch=1", "train.accumulation=8"]),
    ];
    for (recipe, gib, expected) in cases {
        let outlook = outlook(recipe, gib * GIB_BYTES);
        let advice = outlook.advice().unwrap_or_else(|| panic!("nothing helps {recipe}"));
        let again = advised(&outlook, &advice);
        assert!(again.taken().peak <= again.place.budget && again.taken().peak == advice.peak, "{recipe}: {advice}");
        assert_eq!(again.advice(), None);
        let said: Vec<&str> = advice.sets.iter().map(|set| set.split('=').next().unwrap()).collect();
        let expected: Vec<&str> = expected.iter().map(|set| set.split('=').next().unwrap()).collect();
        assert_eq!(said, expected, "{recipe}: {advice}");
        // Leaving out any one of the changes would not do; a batch and its accumulation are one.
        for left_out in advice.sets.iter().filter(|set| !set.starts_with("train.accumulation")) {
            let sets = advice.sets.iter().filter(|set| *set != left_out).cloned().collect();
            let less = advised(&outlook, &Advice { sets, peak: 0 });
            assert!(less.taken().peak > less.place.budget, "{recipe}: {left_out} is not needed");
        }
    }
}

#[test]
fn what_would_not_help_is_not_advised() {
    // Weights in 4 bits alone are more.
    assert_eq!(outlook("quantization = 'nf4'\n[train]\nbatch = 1", 3 * GIB_BYTES).advice(), None);
    // 16 bytes a weight, 10 with moments in 8 bits: neither fits on 80 GiB, whatever the batch; an adapter does.
    let mut whole = outlook("[train]\nbatch = 1", 80 * GIB_BYTES);
    whole.recipe.method = Method::Full;
    assert_eq!(whole.advice().unwrap().sets, ["method=lora"]);
    // On 128 GiB the moments in 8 bits are enough.
    let mut whole = outlook("[train]\nbatch = 1", 128 * GIB_BYTES);
    whole.recipe.method = Method::Full;
    assert_eq!(whole.advice().unwrap().sets, ["train.optimizer=adamw_8bit"]);
}

#[test]
fn known_rows_are_told_from_full_ones() {
    let mut outlook = outlook("[train]\nbatch = 4", 80 * GIB_BYTES);
    outlook.lengths = Lengths::of(vec![100, 900, 300, 500, 700], 2500);
    let most = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = outlook.recipe.clone();
        change(&mut recipe);
        outlook.lengths.most(&recipe, &outlook.recipe)
    };
    assert_eq!(most(&|_| {}), 2500);
    assert_eq!(most(&|r| r.train.batch = 2), 900 + 700);
    assert_eq!(most(&|r| r.train.batch = 9), 2500, "there are no more rows");
    assert_eq!(most(&|r| r.data.max_length = 400), 400 + 400 + 400 + 300);
    assert_eq!(most(&|r| (r.train.batch, r.data.packing) = (2, Packing::Bfd)), 2 * 2048);
}

#[test]
fn the_largest_batch_fits_and_one_more_does_not() {
    let of = |batch: usize| outlook(&format!("quantization = 'nf4'\n[train]\nbatch = {batch}"), 24 * GIB_BYTES);
    let (most, again) = of(1).largest_batch(2048);
    assert!(most > 0 && again <= 32);
    assert!(of(most).taken().peak <= of(most).place.budget && of(most + 1).taken().peak > of(most + 1).place.budget);
}

#[test]
fn time_is_predicted_of_gpus_with_a_name_only() {
    let outlook = outlook("quantization = 'nf4'\n[train]\nbatch = 4", 24 * GIB_BYTES);
    assert_eq!(outlook.seconds(1e6, 8192.0, 2048.0), None);
    let on = |name: &str| {
        let place = Place::gpu(Gpu::named(name).unwrap());
        Outlook { place, ..outlook.clone() }.seconds(1e6, 8192.0, 2048.0).unwrap()
    };
    // The same peak of arithmetic and less memory traffic: not as fast, but nearly.
    assert!(on("h200") < on("h100") && on("h100") < 1.5 * on("h200") && on("h100") < on("a100-80gb"));
    // 47 GFLOP a token at most, at 989 TFLOP/s at best.
    assert!((20.0..200.0).contains(&on("h200")), "{}", on("h200"));
}
