"""What fine-tuning asks of the backends: examples as the serving engine sees them, and which models can be tuned."""
