"""The same training by Hugging Face's libraries, in an interpreter that has them: `python bench/trl_job.py JOB.json`.

    pip install trl peft transformers gguf torch        (their versions are in what is printed)

Reads GGUF weights with transformers, trains the same LoRA on the same conversations with TRL's SFTTrainer (loss on the
answers alone), writes the adapter, and prints a line of JSON: seconds, seconds of the steps, tokens, peak bytes, loss.
Nothing of Homeport is imported.
"""

import json
import resource
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    import peft
    import torch
    import transformers
    import trl
    from datasets import Dataset

    torch.set_num_threads(job["threads"])
    transformers.utils.logging.set_verbosity_error()
    base = Path(job["base"])
    dtype = torch.bfloat16 if job["bfloat16"] else torch.float32
    tokenizer = transformers.AutoTokenizer.from_pretrained(base.parent, gguf_file=base.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(base.parent, gguf_file=base.name, dtype=dtype)
    model.is_quantized, model.hf_quantizer = False, None  # its weights are plain by now; it is not known to be
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    examples = [{"prompt": one["messages"][:-1], "completion": one["messages"][-1:]} for one in job["examples"]]
    lengths = [len(tokenizer.apply_chat_template(one["messages"], return_dict=False)) for one in job["examples"]]
    settings = trl.SFTConfig(
        output_dir=job["folder"],
        num_train_epochs=job["epochs"],
        per_device_train_batch_size=job["batch_size"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type="linear",
        seed=job["seed"],
        bf16=job["bfloat16"],
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        gradient_checkpointing=False,
        completion_only_loss=True,
        dataloader_num_workers=0,
    )
    lora = peft.LoraConfig(
        r=job["lora_r"],
        lora_alpha=job["lora_alpha"],
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )
    trainer = trl.SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        peft_config=lora,
    )
    began = time.perf_counter()
    result = trainer.train()
    steps = time.perf_counter() - began
    trainer.model.save_pretrained(job["folder"])
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - BEGAN,
                "of_steps": steps,
                "tokens": sum(lengths) * job["epochs"],
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "loss": result.training_loss,
                "versions": {one.__name__: one.__version__ for one in (trl, peft, transformers, torch)},
            }
        )
    )


if __name__ == "__main__":
    main()
