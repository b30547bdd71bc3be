"""Every client of Kafka: made from one ``Cluster`` value, here and nowhere else."""
