"""The rules of the cluster as data, the view of the model that they judge, and who asks them."""
