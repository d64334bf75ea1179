import torch

from fer_tune.train.sampling import epoch_order, frequency_weights, several_views

LABELS = torch.tensor([0] * 10 + [1] * 100 + [2] * 390 + [4] * 500)


def test_power_zero_weighs_every_class_exactly_one():
    weights = frequency_weights(LABELS, 0.0, 7)
    assert torch.equal(weights[[0, 1, 2, 4]], torch.ones(4, dtype=torch.float64))
    assert torch.equal(weights[[3, 5, 6]], torch.zeros(3, dtype=torch.float64))


def test_weights_have_mean_one_and_follow_the_power():
    counts = torch.bincount(LABELS, minlength=7).double()
    for power in (0.5, 1.0):
        weights = frequency_weights(LABELS, power, 7)
        assert torch.isclose((weights * counts).sum() / counts.sum(), torch.tensor(1.0, dtype=torch.float64))
        assert torch.isclose(weights[0] / weights[1], (counts[1] / counts[0]) ** power)


def test_natural_shows_each_image_once_in_random_order():
    torch.manual_seed(0)
    order = epoch_order(LABELS, frequency_weights(LABELS, 0.0, 7))
    assert torch.equal(order.sort().values, torch.arange(len(LABELS)))
    assert not torch.equal(order, torch.arange(len(LABELS)))


def test_power_zero_is_exactly_natural():
    drawn = []
    for weights in (torch.ones(7, dtype=torch.float64), frequency_weights(LABELS, 0.0, 7)):
        torch.manual_seed(3)
        drawn.append(epoch_order(LABELS, weights))
    assert torch.equal(*drawn)


def test_inverse_frequency_shows_all_classes_equally_often():
    torch.manual_seed(0)
    order = epoch_order(LABELS, frequency_weights(LABELS, 1.0, 7))
    assert len(order) == len(LABELS)
    shown = torch.bincount(LABELS[order], minlength=7)[[0, 1, 2, 4]]
    assert (shown - 250).abs().max() <= 1
    assert order[:500].unique().numel() > 250, "the order is shuffled, repeats are not side by side"


def test_square_root_lies_between():
    torch.manual_seed(0)
    counts = torch.bincount(LABELS, minlength=7).double()
    order = epoch_order(LABELS, frequency_weights(LABELS, 0.5, 7))
    expected = counts.sqrt() / counts.sqrt().sum() * len(LABELS)
    assert (torch.bincount(LABELS[order], minlength=7) - expected).abs().max() <= 1


def test_an_image_comes_as_often_as_its_class_weighs_to_within_one():
    torch.manual_seed(0)
    weights = frequency_weights(LABELS, 1.0, 7)
    times = torch.bincount(epoch_order(LABELS, weights), minlength=len(LABELS))
    expected = weights[LABELS]
    assert ((times == expected.floor()) | (times == expected.floor() + 1)).all()


def test_several_views_of_a_face_are_in_one_batch_and_not_beside_each_other():
    order = torch.randperm(1000)
    found = several_views(order, 4, 64)
    assert len(found) == 1000
    for batch in found[: 15 * 64].split(64):
        assert batch.unique(return_counts=True)[1].tolist() == [4] * 16
        assert (batch != batch.roll(1)).all()
    assert found.unique().tolist() == sorted(order[:256].tolist())
    assert torch.equal(several_views(order, 1, 64), order)
    assert len(several_views(order[:3], 4, 64)) == 3
