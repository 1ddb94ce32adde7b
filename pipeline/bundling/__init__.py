"""The two jobs whose product is a bundle: training and import."""
