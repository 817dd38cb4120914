"""A run's rows where others look for them: TensorBoard, Weights & Biases, MLflow. The tables stay the record."""
