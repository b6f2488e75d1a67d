"""Fine-tuning of a chat model: adapters (LoRA) over its weights, trained by PyTorch in a process of its own.

python -m homeport.training.text FOLDER        trains what the folder of a job says (job.py): the extra `train`
"""
