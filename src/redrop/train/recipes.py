"""Recipes with names that people know; the values of published models come with their source."""

from redrop.train.recipe import EVERYWHERE, Recipe

_HF = "https://github.com/huggingface/transformers/blob/main/src/transformers/models"

_BERT_SITES = {
    "embedding": 0.1,
    "attention_weights": 0.1,
    "attention_residual": 0.1,
    "feed_forward_residual": 0.1,
}

_ALL = (
    Recipe(name="none", label="no dropout"),
    Recipe(name="as-is", label="the model's own dropout", model={"rates": "own"}),
    Recipe(name="dropout-0.1", label="dropout 0.1 on all sites", dropout={EVERYWHERE: 0.1}),
    Recipe(name="dropout-0.2", label="dropout 0.2 on all sites", dropout={EVERYWHERE: 0.2}),
    Recipe(name="dropout-0.3", label="dropout 0.3 on all sites", dropout={EVERYWHERE: 0.3}),
    Recipe(
        name="attention-only-0.1",
        label="dropout 0.1 on attention weights",
        dropout={"attention_weights": 0.1},
    ),
    Recipe(
        name="residual-only-0.1",
        label="dropout 0.1 on the residual projections",
        dropout={"attention_residual": 0.1, "feed_forward_residual": 0.1},
    ),
    Recipe(
        name="vaswani",
        label="the sites of the first Transformer: embedding and residual 0.1",
        dropout={"embedding": 0.1, "attention_residual": 0.1, "feed_forward_residual": 0.1},
        model={"norm": "post"},
        train={"label_smoothing": 0.1},
        source="Vaswani et al. 2017, section 5.4: base model, residual dropout and label smoothing",
    ),
    Recipe(
        name="gpt2",
        label="the sites of GPT-2's configuration, 0.1",
        dropout=_BERT_SITES,
        source=f"embd_pdrop, attn_pdrop, resid_pdrop: {_HF}/gpt2/configuration_gpt2.py; OpenAI's "
        "own code has no dropout and the paper names none",
    ),
    Recipe(
        name="bert",
        label="the sites of BERT, 0.1, post-norm",
        dropout=_BERT_SITES,
        model={"norm": "post"},
        source="hidden_dropout_prob, attention_probs_dropout_prob: "
        f"{_HF}/bert/configuration_bert.py",
    ),
    Recipe(
        name="t5",
        label="the sites of T5, 0.1",
        dropout={EVERYWHERE: 0.1},
        source=f"dropout_rate: {_HF}/t5/configuration_t5.py (T5 1.0 and fine-tuning; T5 v1.1 was "
        "pre-trained with 0)",
    ),
    Recipe(
        name="llama",
        label="no dropout, RMSNorm, weight decay 0.1",
        model={"norm_layer": "rmsnorm"},
        train={"weight_decay": 0.1, "clip_norm": 1.0},
        source="Touvron et al. 2023, section 2: pre-normalization with RMSNorm, AdamW with decay "
        "0.1 and clipping 1.0; attention_dropout 0: "
        f"{_HF}/llama/configuration_llama.py",
    ),
    Recipe(
        name="adam",
        label="Adam without weight decay",
        train={"optimizer": "adam", "weight_decay": 0.0},
        source="Kingma and Ba 2015, algorithm 1, which has no decay; what AdamW is compared with",
    ),
    Recipe(
        name="sgd",
        label="SGD with momentum",
        train={"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4},
        source="He et al. 2016: Deep Residual Learning, section 3.4: images, another schedule",
    ),
    Recipe(
        name="no-norm",
        label="no norm layers, Xavier's initial weights",
        model={"norm_layer": "none", "init": "xavier"},
        source="Glorot and Bengio 2010, whose weights keep the variance without norms; beside it, "
        "init-xavier is the same network with norms",
    ),
    Recipe(
        name="slowrun",
        label="residual dropout 0.1, DropPath up to 0.05, weight decay 0.8",
        dropout={"attention_residual": 0.1, "feed_forward_residual": 0.1, "drop_path": 0.05},
        train={"weight_decay": 0.8},
        source="records of 2026 for language models on 100 M tokens and many epochs: "
        "https://github.com/qlabs-eng/slowrun",
    ),
    Recipe(
        name="old",
        label="old network with heavy dropout",
        dropout={"pre_activation": 0.5, "feed_forward_hidden": 0.3},
        model={"network": "old"},
        train={"weight_decay": 0.0, "clip_norm": 0.0, "warmup_steps": 0, "schedule": "constant"},
        source="dense, dropout 0.5, activation, dropout 0.3, dense, and nothing else: as drawn "
        "before residual connections and LayerNorm; 0.5 in hidden layers is that of Srivastava et "
        "al. 2014",
    ),
    Recipe(
        name="modern",
        label="modern network",
        model={"network": "modern"},
        train={"weight_decay": 0.1, "clip_norm": 1.0, "schedule": "cosine"},
        source="LayerNorm, residual connections (Xiong et al. 2020), decoupled decay (Loshchilov "
        "and Hutter 2019), clipping (Pascanu et al. 2013), a schedule with warm-up; no dropout",
    ),
    Recipe(
        name="early-dropout",
        label="dropout 0.1 on all sites in the first 20 % of steps",
        dropout={EVERYWHERE: 0.1},
        train={"dropout_schedule": "early-0.2"},
        source="Liu et al. 2023: Dropout Reduces Underfitting",
    ),
    Recipe(
        name="late-dropout",
        label="dropout 0.2 on all sites in the second half",
        dropout={EVERYWHERE: 0.2},
        train={"dropout_schedule": "late-0.5"},
        source="Liu et al. 2023; Xue et al. 2023: dropout can be switched on late",
    ),
    Recipe(
        name="r-drop",
        label="dropout 0.1 on all sites, R-Drop 1",
        dropout={EVERYWHERE: 0.1},
        train={"r_drop": 1.0},
        source="Liang et al. 2021",
    ),
    Recipe(
        name="early-stopping",
        label="early stopping after 3 evaluations in vain",
        train={"patience": 3},
        source="Prechelt 1998",
    ),
)

RECIPES = {recipe.name: recipe for recipe in _ALL}
"""By name, in the order in which `redrop recipes` lists them."""
